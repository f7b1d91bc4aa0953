//! What routing must decide.

use postern_model::OriginalRecipient;

use super::*;

fn connector(name: &str, kind: ConnectorKind, spaces: &[&str]) -> RouteConnector {
    RouteConnector {
        name: name.into(),
        kind,
        spaces: spaces.iter().map(|s| s.parse().unwrap()).collect(),
        max_message_size: None,
        enabled: true,
        destination: match kind {
            ConnectorKind::DeliveryAgent => DestinationRule::DomainOrSpace,
            ConnectorKind::Foreign => DestinationRule::Space,
            ConnectorKind::Send => DestinationRule::Fixed("mail.example:25".into()),
        },
        one_recipient: false,
    }
}

fn rewrite(from: &str, to: &str) -> Rewrite {
    Rewrite::parse(from, to).unwrap()
}

/// A fax agent, a foreign connector for text messages, a send connector for all mail.
fn table() -> RouteTable {
    RouteTable {
        connectors: vec![
            connector("fax", ConnectorKind::DeliveryAgent, &["FAX:*", "FAX:+49*", "SMTP:fax.example;10"]),
            connector("pbx", ConnectorKind::Foreign, &["SMS:*", "SMTP:sms.example"]),
            connector("internet", ConnectorKind::Send, &["SMTP:*;50"]),
        ],
        rewrites: vec![rewrite("{number}@sms.example", "SMS:{number}")],
        encapsulation_domains: vec!["gw.example".to_owned()],
    }
}

fn address(text: &str) -> TypedAddress {
    text.parse().unwrap()
}

fn next_hop(table: &RouteTable, text: &str) -> String {
    match table.resolve(&address(text), None).choice {
        Ok(next_hop) => next_hop.to_string(),
        Err(reason) => reason.to_string(),
    }
}

fn verdicts(table: &RouteTable, text: &str, size: Option<u64>) -> Vec<(String, Verdict)> {
    let resolution = table.resolve(&address(text), size);
    resolution.candidates.iter().map(|c| (c.connector.name.to_string(), c.verdict)).collect()
}

#[test]
fn the_destination_follows_the_kind_of_the_connector() {
    let mut table = table();
    assert_eq!(next_hop(&table, "jo@fax.example"), "fax/fax.example");
    assert_eq!(next_hop(&table, "FAX:+4930123"), "fax/FAX:+49*");
    assert_eq!(next_hop(&table, "FAX:+1212"), "fax/FAX:*");
    assert_eq!(next_hop(&table, "SMS:+49170"), "pbx/SMS:*");
    assert_eq!(next_hop(&table, "jo@other.example"), "internet/mail.example:25");
    table.connectors[0].destination = DestinationRule::Address;
    assert_eq!(next_hop(&table, "FAX:+4930123"), "fax/FAX:+4930123");
    table.rewrites.clear();
    assert_eq!(next_hop(&table, "jo@sms.example"), "pbx/SMTP:sms.example");
}

#[test]
fn specificity_comes_before_cost_and_cost_before_the_name() {
    let agent = |name, spaces: &[&str]| connector(name, ConnectorKind::DeliveryAgent, spaces);
    let mut table = RouteTable {
        connectors: vec![
            agent("any", &["FAX:*;1"]),
            agent("germany", &["FAX:+49*;90"]),
            agent("berlin-b", &["FAX:+4930*;20"]),
            agent("berlin-a", &["FAX:+4930*;20"]),
            agent("berlin-cheap", &["FAX:+4930*;10"]),
        ],
        ..RouteTable::default()
    };
    let expected = [
        ("berlin-cheap", Verdict::Chosen),
        ("berlin-a", Verdict::Lost(Loss::Costlier { chosen: 10 })),
        ("berlin-b", Verdict::Lost(Loss::Costlier { chosen: 10 })),
        ("germany", Verdict::Lost(Loss::LessSpecific)),
        ("any", Verdict::Lost(Loss::LessSpecific)),
    ];
    let expected = expected.map(|(name, verdict)| (name.to_owned(), verdict));
    assert_eq!(verdicts(&table, "FAX:+4930123", None), expected);
    table.connectors.reverse();
    assert_eq!(verdicts(&table, "FAX:+4930123", None), expected, "the order of the config does not matter");
    table.connectors.retain(|c| &*c.name != "berlin-cheap");
    assert_eq!(
        verdicts(&table, "FAX:+4930123", None)[1],
        ("berlin-b".into(), Verdict::Lost(Loss::LaterName))
    );
}

#[test]
fn a_connector_that_is_off_or_too_small_leaves_the_way_to_the_next() {
    let mut table = table();
    table.connectors.push(connector("backup", ConnectorKind::Foreign, &["FAX:*;50"]));
    table.connectors[0].enabled = false;
    assert_eq!(next_hop(&table, "FAX:+49"), "backup/FAX:*");
    table.connectors[0].enabled = true;
    table.connectors[0].max_message_size = Some(1000);
    let size = |bytes| table.resolve(&address("FAX:+49"), bytes).choice.unwrap().connector;
    assert_eq!(&*size(None), "fax");
    assert_eq!(&*size(Some(1000)), "fax");
    assert_eq!(&*size(Some(1001)), "backup");
    let too_large = Verdict::Excluded(Exclusion::TooLarge { limit: 1000 });
    assert_eq!(verdicts(&table, "FAX:+49", Some(1001))[0], ("fax".into(), too_large));
}

#[test]
fn failover_names_each_usable_connector_once_and_the_best_first() {
    let mut table = table();
    table.connectors.push(connector("backup", ConnectorKind::Foreign, &["FAX:*;50"]));
    table.connectors.push(connector("off", ConnectorKind::Foreign, &["FAX:+49*;1"]));
    table.connectors[4].enabled = false;
    let hops = table.resolve(&address("FAX:+49"), None).alternatives();
    let hops: Vec<_> = hops.iter().map(ToString::to_string).collect();
    assert_eq!(hops, ["fax/FAX:+49*", "backup/FAX:*"]);
}

#[test]
fn only_what_a_change_of_the_config_can_mend_is_held() {
    let mut table = table();
    table.connectors.retain(|c| c.kind != ConnectorKind::Send);
    table.connectors[0].max_message_size = Some(10);
    table.connectors[1].enabled = false;
    table.rewrites.extend([
        rewrite("{a}@one.example", "{a}@two.example"),
        rewrite("{a}@two.example", "{a}@one.example"),
    ]);
    table.rewrites.push(rewrite("{a}@grow.example", "x{a}@grow.example"));
    let cases = [
        ("jo@other.example", "550 5.4.4", true),
        ("PAGER:1", "550 5.4.4", false),
        ("SMS:1", "451 4.4.4", true),
        ("FAX:1", "552 5.3.4", false),
        ("IMCEAFAX@gw.example", "553 5.1.3", false),
        ("jo@one.example", "554 5.4.6", false),
        ("jo@grow.example", "554 5.4.6", false),
    ];
    for (given, code, held) in cases {
        let reason = table.resolve(&address(given), Some(11)).choice.unwrap_err();
        assert!(reason.response().to_string().starts_with(code), "{given}: {}", reason.response());
        assert_eq!(reason.is_worth_waiting(), held, "{given}: {reason}");
    }
}

#[test]
fn a_connector_that_is_off_and_could_take_the_size_makes_the_message_wait() {
    let mut table = table();
    table.connectors[0].max_message_size = Some(10);
    table
        .connectors
        .push(RouteConnector { enabled: false, ..connector("off", ConnectorKind::Foreign, &["FAX:*"]) });
    let reason = |table: &RouteTable| table.resolve(&address("FAX:1"), Some(11)).choice.unwrap_err();
    assert_eq!(reason(&table), NoRoute::Off(address("FAX:1")));
    table.connectors[3].max_message_size = Some(5);
    assert_eq!(reason(&table), NoRoute::TooLarge { address: address("FAX:1"), size: 11, limit: 10 });
}

#[test]
fn forms_and_rewrites_take_turns_until_nothing_matches() {
    let mut table = table();
    table.rewrites =
        vec![rewrite("{user}@old.example", "{user}@gw.example"), rewrite("FAX:0{local}", "FAX:+49{local}")];
    let resolution = table.resolve(&address("IMCEAFAX-030123@old.example"), None);
    assert_eq!(resolution.address, address("FAX:+4930123"));
    let steps: Vec<_> = resolution.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "rewrite 1 turns SMTP:IMCEAFAX-030123@old.example into SMTP:IMCEAFAX-030123@gw.example",
            "SMTP:IMCEAFAX-030123@gw.example carries FAX:030123 (IMCEA form)",
            "rewrite 2 turns FAX:030123 into FAX:+4930123",
        ]
    );
    let named = |name: &str| resolution.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!((named("user"), named("local")), (Some("IMCEAFAX-030123"), Some("30123")));
}

#[test]
fn the_first_rewrite_that_matches_wins_and_one_that_changes_nothing_ends_it() {
    let mut table = table();
    table.rewrites = vec![
        rewrite("{jo}@stays.example", "{jo}@stays.example"),
        rewrite("{a}@stays.example", "FAX:{a}"),
        rewrite("{b}@goes.example", "FAX:{b}"),
        rewrite("{c}@goes.example", "SMS:{c}"),
    ];
    assert_eq!(next_hop(&table, "jo@stays.example"), "internet/mail.example:25");
    assert_eq!(next_hop(&table, "1@goes.example"), "fax/FAX:*");
    let stays = table.resolve(&address("jo@stays.example"), None);
    assert_eq!(stays.steps[0].to_string(), "rewrite 1 matches and leaves SMTP:jo@stays.example as it is");
    assert_eq!(stays.properties, [("jo".to_owned(), "jo".to_owned())]);
}

#[test]
fn rewriting_ends_after_five_rounds_and_a_chain_of_five_still_arrives() {
    let chain = |n: usize| -> Vec<Rewrite> {
        (0..n)
            .map(|i| rewrite(&format!("{{a}}@h{i}.example"), &format!("{{a}}@h{}.example", i + 1)))
            .collect()
    };
    let mut table = RouteTable { rewrites: chain(MAX_ROUNDS), ..table() };
    assert_eq!(next_hop(&table, "jo@h0.example"), "internet/mail.example:25");
    table.rewrites = chain(MAX_ROUNDS + 1);
    let choice = table.resolve(&address("jo@h0.example"), None).choice;
    assert_eq!(choice, Err(NoRoute::RewriteLimit(address("jo@h6.example"))));
}

#[test]
fn a_plan_keeps_every_recipient_in_the_order_of_the_envelope() {
    let given = [
        "jo@other.example",
        "FAX:+491",
        "PAGER:7",
        "FAX=+492/T33S=5@gw.example",
        "0170@sms.example",
        "kim@third.example",
        "FAX:+491",
    ];
    let recipients: Vec<_> = (0..).zip(given).map(|(i, a)| Recipient::new(i, address(a))).collect();
    let plan = table().plan(recipients.clone(), Some(1));
    let groups: Vec<(String, Vec<u32>)> =
        plan.groups.iter().map(|(n, r)| (n.to_string(), r.iter().map(|r| r.index).collect())).collect();
    let expected =
        [("internet/mail.example:25", vec![0, 5]), ("fax/FAX:+49*", vec![1, 3, 6]), ("pbx/SMS:*", vec![4])];
    assert_eq!(groups, expected.map(|(n, r)| (n.to_owned(), r)));
    assert_eq!(plan.unroutable.len(), 1);
    assert_eq!(plan.unroutable[0], (recipients[2].clone(), NoRoute::NoMatch(address("PAGER:7"))));

    assert_eq!(plan.groups[0].1[0], recipients[0], "an address that stays leaves the recipient as it was");
    let fax = &plan.groups[1].1[1];
    assert_eq!(fax.address, address("FAX:+492"));
    assert_eq!(fax.envelope_address, Some(address("FAX=+492/T33S=5@gw.example")));
    assert_eq!(fax.properties, [("t33s".to_owned(), "5".to_owned())]);
    assert_eq!(plan.groups[2].1[0].properties, [("number".to_owned(), "0170".to_owned())]);
}

#[test]
fn planning_again_changes_nothing_and_keeps_what_the_sender_said() {
    let mut recipient = Recipient::new(3, address("0170@sms.example"));
    recipient.original = Some(OriginalRecipient { kind: "rfc822".into(), address: "a@b.example".into() });
    recipient.properties = vec![("kept".into(), "yes".into()), ("number".into(), "old".into())];
    let once = table().plan(vec![recipient.clone()], None).groups.remove(0);
    assert_eq!(once.1[0].original, recipient.original);
    let properties: Vec<_> = once.1[0].properties.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(properties, ["kept=yes", "number=0170"]);
    let twice = table().plan(once.1.clone(), None).groups.remove(0);
    assert_eq!(once, twice);
}

#[test]
fn an_explanation_says_the_same_as_the_resolution() {
    let mut table = table();
    table
        .connectors
        .push(RouteConnector { enabled: false, ..connector("off", ConnectorKind::Foreign, &["FAX:*;9"]) });
    let text = table.resolve(&address("FAX=+49-30@gw.example"), None).explain().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "SMTP:FAX=+49-30@gw.example",
            "  SMTP:FAX=+49-30@gw.example carries FAX:+4930 (RFC 3191 form)",
            "  * fax by FAX:+49*;1: chosen",
            "  - fax by FAX:*;1: a better address space of this connector is chosen",
            "  - off by FAX:*;9: the connector is off",
            "FAX:+4930 goes to fax, queue FAX:+49*",
        ]
    );
    let nowhere = table.resolve(&address("PAGER:1"), None).explain();
    assert_eq!((nowhere.connector.as_deref(), nowhere.held), (None, false));
    assert_eq!(nowhere.to_string(), "PAGER:1\nno connector has an address space for PAGER:1; not accepted");
}

#[test]
fn the_way_over_a_given_connector_is_its_best_space_or_none() {
    let address: TypedAddress = "FAX:+4930123".parse().unwrap();
    let table = table();
    let hop = |name: &str| table.hop_over(name, &address).map(|hop| hop.to_string());
    assert_eq!(hop("fax").as_deref(), Some("fax/FAX:+49*"));
    assert_eq!((hop("pbx"), hop("nobody")), (None, None));
    let mail = TypedAddress::smtp("ann@fax.example").unwrap();
    assert_eq!(
        table.hop_over("internet", &mail).map(|hop| hop.connector.to_string()).as_deref(),
        Some("internet")
    );
}

#[test]
fn a_connector_that_takes_one_recipient_gets_each_alone_and_others_are_not_split() {
    let mut table = table();
    table.connectors[1].one_recipient = true;
    let to = ["SMS:+1", "FAX:+2", "SMS:+3", "FAX:+4"];
    let recipients = (0..).zip(to).map(|(index, to)| Recipient::new(index, address(to))).collect();
    let plan = table.plan(recipients, None);
    let groups: Vec<(String, Vec<u32>)> =
        plan.groups.iter().map(|(n, r)| (n.to_string(), r.iter().map(|r| r.index).collect())).collect();
    let expected = [("pbx/SMS:*", vec![0]), ("fax/FAX:*", vec![1, 3]), ("pbx/SMS:*", vec![2])];
    assert_eq!(groups, expected.map(|(n, r)| (n.to_owned(), r)));
}
