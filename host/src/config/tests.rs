//! Checks of whole files: the samples of `tests/configs`, and what a report looks like.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use postern_model::{FailureClass, TypedAddress};

use super::*;

/// The folder of the samples, looked for upwards from the package that is being tested.
fn samples(kind: &str) -> Vec<PathBuf> {
    let start = Path::new(file!()).canonicalize().unwrap_or_else(|_| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests.rs").canonicalize().unwrap()
    });
    let root =
        start.ancestors().find(|folder| folder.join("tests/configs").is_dir()).expect("the samples exist");
    let folder = root.join("tests/configs").join(kind);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// Checks a text in a folder with the secret files and the drop directory that the samples speak of.
fn check(text: &str) -> Result<(Config, Vec<Warning>), Report> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, mode) in [
        ("closed.key", "s3cret\n", 0o600),
        ("open.key", "s3cret\n", 0o644),
        ("agent.wasm", "", 0o644),
        ("ca.pem", "", 0o644),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for name in ["drop", "fonts", "spool"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let absolute = folder.path().join("postern.toml");
    let environment = |name: &str| (name == "POSTERN_SECRET").then(|| "s3cret".to_owned());
    check_text(text, Path::new("postern.toml"), &absolute, &environment)
}

/// What the head of a sample says must be found: `# expect: line N: text` or `# warn: line N: text`.
fn expected(text: &str, word: &str) -> Vec<(usize, String)> {
    let marker = format!("# {word}: line ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&marker));
    let mut expected: Vec<_> = lines
        .map(|rest| {
            let (line, what) = rest.split_once(": ").unwrap();
            (line.parse().unwrap(), what.to_owned())
        })
        .collect();
    expected.sort();
    expected
}

/// Each expectation must be met by a finding of its own, and no finding be left over; what does not hold comes back.
fn mismatches(sample: &Path, expected: Vec<(usize, String)>, found: &[Finding]) -> Vec<String> {
    let mut left: Vec<_> = found.iter().collect();
    let mut mismatches = Vec::new();
    for (line, what) in expected {
        let hit = left.iter().position(|finding| {
            finding.line == Some(line) && format!("{}: {}", finding.key, finding.message).contains(&what)
        });
        match hit {
            Some(at) => drop(left.remove(at)),
            None => mismatches.push(format!("{}: not found: line {line}: {what}", sample.display())),
        }
    }
    mismatches.extend(left.iter().map(|finding| format!("{}: not expected: {finding}", sample.display())));
    mismatches
}

#[test]
fn every_valid_sample_loads_with_exactly_the_warnings_it_names() {
    let samples = samples("valid");
    assert!(samples.len() >= 5, "only {} samples", samples.len());
    let mut wrong = Vec::new();
    for sample in samples {
        let text = fs::read_to_string(&sample).unwrap();
        match check(&text) {
            Ok((_, warnings)) => wrong.extend(mismatches(&sample, expected(&text, "warn"), &warnings)),
            Err(report) => wrong.push(format!("{}:\n{report}", sample.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_invalid_sample_has_exactly_the_faults_it_names() {
    let samples = samples("invalid");
    assert!(samples.len() >= 10, "only {} samples", samples.len());
    let mut wrong = Vec::new();
    for sample in samples {
        let text = fs::read_to_string(&sample).unwrap();
        let report = check(&text).expect_err(&sample.display().to_string());
        let expected = expected(&text, "expect");
        assert!(!expected.is_empty(), "{} names no fault", sample.display());
        wrong.extend(mismatches(&sample, expected, &report.faults));
        for fault in &report.faults {
            assert!(!fault.message.ends_with('.') && !fault.message.contains("s3cret"), "{fault}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn several_faults_are_told_in_one_go_with_their_places() {
    let text = "\
[host]
nam = \"gw1.example\"

[receive_connectors.default]
listen = [\"localhost:25\"]
max_message_size = \"huge\"

[delivery_agent_connectors.fax]
address_spaces = [\"FAX:*;200\"]
agent = \"agent.wasm\"
AddressSpaces = []
";
    let expected = "\
error: postern.toml:1:2: host: the key `name` is missing
  1 | [host]
    |  ^^^^
  hint: write name = \"gw1.example\" under [host]
error: postern.toml:2:1: host.nam: this key is not known
  2 | nam
    | ^^^
  hint: did you mean `name`? Known keys are agent_parse_budget, content_cache, data_directory, early_receipt_life, early_receipts, encapsulation_domains, inline_body_limit, log_format, max_agent_instances, max_large_agent_instances, name, on_store_failure, postmaster, quarantine_records, receipt_memory, recordings, recordings_size, settle_window, shutdown_grace, store_reserve, worker_threads
error: postern.toml:5:11: receive_connectors.default.listen: \"localhost:25\" is not an address and a port
  5 | listen = [\"localhost:25\"]
    |           ^^^^^^^^^^^^^^
  hint: write \"127.0.0.1:2525\", \"[::1]:2525\" or \"0.0.0.0:25\"
error: postern.toml:6:20: receive_connectors.default.max_message_size: \"huge\" is not a size
  6 | max_message_size = \"huge\"
    |                    ^^^^^^
  hint: write a number with a unit: \"64KiB\", \"35MiB\", \"1GiB\"; plain numbers are bytes
error: postern.toml:9:19: delivery_agent_connectors.fax.address_spaces: the cost 200 is out of range, 1 to 100 are accepted
  9 | address_spaces = [\"FAX:*;200\"]
    |                   ^^^^^^^^^^^
  hint: write TYPE:pattern;cost, as \"SMTP:fax.example\", \"SMTP:*.fax.example;10\", \"FAX:+49*\" or \"SMS:*\"
";
    let report = check(text).unwrap_err();
    let human = report.human();
    assert!(human.starts_with(expected), "{human}");
    assert!(human.contains("AddressSpaces: this key is not known"), "{human}");
    assert!(human.contains("did you mean `address_spaces`?"), "{human}");
    assert!(human.ends_with("\n6 errors\n"), "{human}");
    let json = report.json();
    assert_eq!(json["faults"][4]["key"], "delivery_agent_connectors.fax.address_spaces");
    assert_eq!((&json["faults"][4]["line"], &json["faults"][4]["column"]), (&9.into(), &19.into()));
}

#[test]
fn a_secret_written_into_the_file_is_not_repeated() {
    for text in [
        "[host]\nname = \"a\"\n[secrets]\nkey = \"hunter2\"\n",
        "[host]\nname = \"a\"\n[secrets]\nkey = \"hunter2\n",
        "[host]\nname = \"a\"\n[delivery_agent_connectors.x]\nagent = \"agent.wasm\"\naddress_spaces = [\"F:*\"]\ngrants.secrets = [\"hunter2\"]\n",
        "[host]\nname = \"a\"\n[admin]\ntoken = \"hunter2\"\n",
        "[host]\nname = \"a\"\n[delivery_agent_connectors.x]\nagent = \"agent.wasm\"\naddress_spaces = [\"F:*\"]\nsettings = { key = \"hunter2\", n = inf }\n",
    ] {
        let report = check(text).unwrap_err();
        assert!(
            !format!("{} {} {report:?}", report.human(), report.json()).contains("hunter2"),
            "{}",
            report.human()
        );
    }
}

#[test]
fn secrets_come_from_closed_files_the_environment_and_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let credential = folder.path().join("cred");
    fs::write(&credential, "from-systemd").unwrap();
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o400)).unwrap();
    let path = folder.path().join("postern.toml");
    let text = "[host]\nname = \"a\"\n[secrets]\none = { env = \"ONE\" }\ntwo = { credential = \"cred\" }\nthree = { file = \"cred\" }\n";
    let environment = |name: &str| match name {
        "ONE" => Some("1".to_owned()),
        "CREDENTIALS_DIRECTORY" => Some(folder.path().to_string_lossy().into_owned()),
        _ => None,
    };
    let (config, _) = check_text(text, &path, &path, &environment).unwrap();
    let exposed: Vec<_> =
        config.secrets.names().map(|name| config.secrets.get(name).unwrap().expose()).collect();
    assert_eq!(exposed, ["1", "from-systemd", "from-systemd"]);
}

#[test]
fn a_file_is_loaded_and_relative_paths_count_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postern.toml");
    fs::write(&path, template::starter("gw1.example")).unwrap();
    let (config, warnings) = load(&path).unwrap();
    assert_eq!(config.host.data_directory, folder.path().join("data"));
    assert_eq!(config.foreign_connectors[0].drop_directory, folder.path().join("drop/outbox"));
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].message.starts_with("no enabled send connector"));
}

#[test]
fn a_missing_a_binary_and_a_broken_file_are_one_fault_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postern.toml");
    let report = load(&path).unwrap_err();
    assert!(
        report.faults[0].to_string().contains("postern.toml: the configuration file cannot be read"),
        "{report}"
    );
    assert!(report.faults[0].hint.as_deref().unwrap().contains("postern init"));
    fs::write(&path, b"[host]\n\xff").unwrap();
    assert_eq!(load(&path).unwrap_err().faults[0].message, "line 2 is not UTF-8");
    fs::write(&path, "[host]\nname = \n[admin]\n").unwrap();
    let report = load(&path).unwrap_err();
    assert_eq!((report.faults.len(), report.faults[0].line), (1, Some(2)), "{report}");
    assert!(report.faults[0].message.starts_with("this is not TOML: "));
}

#[test]
fn what_is_not_said_has_its_default() {
    let text = "\
[host]
name = \"GW1.Example\"
[receive_connectors.default]
listen = [\"127.0.0.1:0\"]
[delivery_agent_connectors.fax]
address_spaces = [\"FAX:*\"]
agent = \"agent.wasm\"
retry = { busy = \"3m\" }
";
    let (config, _) = check(text).unwrap();
    assert_eq!(config.host.postmaster.to_string(), "SMTP:postmaster@gw1.example");
    assert_eq!(config.host.encapsulation_domains, ["gw1.example"]);
    let receive = &config.receive_connectors[0];
    assert_eq!((receive.max_message_size, receive.max_recipients, receive.max_hops), (35 << 20, 200, 30));
    assert!(receive.admits("127.1.2.3".parse().unwrap()) && receive.admits("::1".parse().unwrap()));
    assert!(!receive.admits("192.0.2.1".parse().unwrap()));
    let fax = &config.delivery_agent_connectors[0];
    assert_eq!((fax.common.max_concurrent_connections, fax.common.max_messages_per_connection), (5, 20));
    assert_eq!(fax.common.retry.delay(&FailureClass::new("busy"), 1).as_mins(), 3);
    assert_eq!(fax.common.retry.delay(&FailureClass::new("timeout"), 1).as_mins(), 1);
    assert_eq!(fax.common.expire_after.unwrap().as_hours(), 48);
    assert_eq!(
        (fax.receipt_expires_after.as_hours(), fax.receipt_expires_after_max.as_hours()),
        (24, 7 * 24)
    );
    assert_eq!((fax.on_receipt_expiry, config.host.receipt_memory), (OnReceiptExpiry::FailureDsn, 100_000));
    assert_eq!(fax.settings, serde_json::json!({}));
    assert_eq!(
        (fax.limits.memory, fax.limits.cpu.as_secs(), fax.limits.deadline.as_secs()),
        (64 << 20, 10, 300)
    );
    assert!(fax.grants.http.is_empty() && fax.grants.state == 0 && !fax.grants.callback);
    assert!(fax.common.submitters.allows(&Submitter {
        connector: "default",
        client: "127.0.0.1".parse().ok(),
        user: None,
        sender: ""
    }));
}

#[test]
fn the_first_rewrite_that_fits_is_taken() {
    let text = "\
[host]
name = \"a\"
[[rewrites]]
match = \"0{number}@fax.example\"
to = \"FAX:+49{number}\"
[[rewrites]]
match = \"{number}@fax.example\"
to = \"FAX:{number}\"
";
    let (config, _) = check(text).unwrap();
    let rewrite =
        |text: &str| config.rewrite(&TypedAddress::parse(text).unwrap()).map(|new| new.address.to_string());
    assert_eq!(rewrite("030123@fax.example").as_deref(), Some("FAX:+4930123"));
    assert_eq!(rewrite("1@fax.example").as_deref(), Some("FAX:1"));
    assert_eq!(rewrite("1@sms.example"), None);
}

#[test]
fn a_quoted_table_name_with_odd_characters_is_a_fault_and_not_a_panic() {
    let report = check("[host]\nname = \"a\"\n[send_connectors.\"a.b\\u001b\"]\n").unwrap_err();
    assert!(report.faults.iter().any(|fault| fault.message == "this name is not accepted"), "{report}");
    assert!(!report.human().contains('\u{1b}'));
}

#[test]
fn no_text_makes_the_check_panic() {
    let whole = template::starter("gw1.example");
    for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        let _ = check_text(&whole[..at], Path::new("x"), Path::new("/x"), &|_| None)
            .map_err(|report| report.human());
    }
    for odd in [
        "",
        "\u{feff}",
        "=",
        "[host",
        "[host]\n[host]\n",
        "a = [[[[[[",
        "\u{0}",
        "[host]\nname = 'ä'\nö = 1\r\n",
    ] {
        let _ = check_text(odd, Path::new("x"), Path::new("/x"), &|_| None).map_err(|report| report.human());
    }
}

#[test]
fn the_reference_describes_every_key() {
    let keys = known_keys();
    assert!(
        keys.contains("host.name") && keys.contains("delivery_agent_connectors.NAME.limits.memory"),
        "{keys:#?}"
    );
    let samples = samples("valid");
    let root = samples[0].ancestors().nth(4).unwrap();
    let reference = fs::read_to_string(root.join("docs/config.md")).unwrap();
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
            // The part of the reference about the table, from its heading to the next one of the same or higher rank.
            let heading = if table.is_empty() { String::new() } else { format!("`{table}`") };
            let section = reference
                .split("\n## ")
                .find(|part| part.lines().next().is_some_and(|line| line.contains(&heading)));
            !section.is_some_and(|section| section.contains(&format!("`{name}`")))
                && !reference.contains(&format!("`{key}`"))
        })
        .collect();
    assert!(missing.is_empty(), "not in docs/config.md: {missing:#?}");
}
