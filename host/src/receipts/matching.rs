//! Matching: what a receipt is about, of all that is known of its id. Pure; the rule is `docs/decisions/0009`.

use postern_model::{Receipt, ReceiptWord};
use postern_store::{FoundReceipts, RememberedReceipt, StoredReceipt};

/// What a receipt is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// These are waited for: one, or several that one call brought, which are one job at the far end. Never empty.
    Waiting(Vec<StoredReceipt>),
    /// One of several that are waited for: nobody knows which.
    Ambiguous,
    /// Nobody waits for it any longer.
    Past(Afterthought, RememberedReceipt),
    /// Nobody waits for it, and nobody did.
    Nobody,
}

/// How a word relates to what was settled before it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterthought {
    /// The same word again.
    Repeated,
    /// The wait had ended without a word.
    Late,
    /// Another word was believed.
    Contradicts,
}

impl Afterthought {
    /// The word for it in metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::Late => "late",
            Self::Contradicts => "contradicts",
        }
    }
}

/// Chooses among what is known of the receipt's id. Who waits comes before who waited; of several that wait none is
/// chosen, since completing the wrong one is worse than completing none.
pub(super) fn choose(found: FoundReceipts, receipt: &Receipt) -> Match {
    // Where the limit is met there may be more, so the one that fits need not be the only one.
    let all_are_told = found.waiting.len() < FoundReceipts::MAX_WAITING;
    let about: Vec<_> = found.waiting.into_iter().filter(|waiting| waiting.fits(receipt)).collect();
    let first_call = about.first().and_then(|first| first.call.as_ref());
    let one_job = first_call.is_some() && about.iter().all(|one| one.call.as_ref() == first_call);
    match about.len() {
        _ if !all_are_told => return Match::Ambiguous,
        0 => {}
        1 => return Match::Waiting(about),
        _ if one_job => return Match::Waiting(about),
        _ => return Match::Ambiguous,
    }
    let said = receipt.state.word();
    let mut past = found.past.into_iter().filter(|past| past.receipt.fits(receipt));
    // The newest is what a far end that uses ids again means.
    let Some(newest) = past.next() else { return Match::Nobody };
    match newest.receipt.word {
        None => Match::Past(Afterthought::Late, newest),
        Some(before) if before.agrees_with(said) => Match::Past(Afterthought::Repeated, newest),
        // Another attempt was asked for, whose own hand-over may not be settled yet.
        Some(ReceiptWord::Retry) => Match::Nobody,
        Some(_) => Match::Past(Afterthought::Contradicts, newest),
    }
}

#[cfg(test)]
mod tests {
    use postern_model::{EventRecipient, MessageId, ReceiptState, Response};
    use postern_store::PastReceipt;
    use postern_store::conformance::sample;

    use super::*;

    fn receipt(address: Option<&str>) -> Receipt {
        let state = ReceiptState::Delivered(Response::new(250, (2, 0, 0), "arrived"));
        Receipt { address: address.map(str::to_owned), ..Receipt::new("17", state) }
    }

    /// One that an item with these recipients waits for.
    fn waiting(name: &str, addresses: &[&str]) -> StoredReceipt {
        let item = sample::item(
            postern_model::ItemId { message: MessageId::from_name(name), ordinal: 0 },
            &sample::hop("a"),
            1,
        );
        let recipients = (0..).zip(addresses).map(|(index, address)| EventRecipient::new(index, address));
        StoredReceipt { recipients: recipients.collect(), ..sample::receipt(&item, "17") }
    }

    fn past(number: u64, address: &str, word: Option<ReceiptWord>) -> RememberedReceipt {
        let StoredReceipt { connector, id, item, destination, sender, recipients, at, .. } =
            waiting("past", &[address]);
        let receipt = PastReceipt { connector, id, item, destination, sender, recipients, word, at };
        RememberedReceipt { number, noted: false, receipt }
    }

    fn chosen(waiting: &[&StoredReceipt], past: &[&RememberedReceipt], address: Option<&str>) -> Match {
        let waiting = waiting.iter().map(|&w| w.clone()).collect();
        let past = past.iter().map(|&p| p.clone()).collect();
        choose(FoundReceipts { waiting, past }, &receipt(address))
    }

    fn one(waiting: &StoredReceipt) -> Match {
        Match::Waiting(vec![waiting.clone()])
    }

    #[test]
    fn an_id_that_one_item_waits_for_needs_no_address_and_must_not_name_another() {
        let only = waiting("a", &["FAX:+4930", "FAX:+4940"]);
        for address in [None, Some("+4930"), Some("FAX:4940")] {
            assert_eq!(chosen(&[&only], &[], address), one(&only));
        }
        assert_eq!(chosen(&[&only], &[], Some("+4950")), Match::Nobody);
        assert_eq!(chosen(&[], &[], None), Match::Nobody);
    }

    #[test]
    fn of_several_items_with_one_id_the_address_chooses_or_nobody_does() {
        let [a, b, c] =
            [("a", "FAX:+4930"), ("b", "FAX:+4940"), ("c", "FAX:+4940")].map(|(n, to)| waiting(n, &[to]));
        let all = [&a, &b, &c];
        assert_eq!(chosen(&all, &[], Some("4930")), one(&a));
        assert_eq!(chosen(&all, &[], None), Match::Ambiguous);
        assert_eq!(chosen(&all, &[], Some("4940")), Match::Ambiguous, "two messages to one number");
        assert_eq!(chosen(&all, &[], Some("4950")), Match::Nobody);
    }

    #[test]
    fn items_that_got_the_id_in_one_call_are_one_job() {
        let of_call = |name: &str, to: &str, call: Option<&str>| StoredReceipt {
            call: call.map(str::to_owned),
            ..waiting(name, &[to])
        };
        let a = of_call("a", "FAX:+4930", Some("1"));
        let b = of_call("b", "FAX:+4940", Some("1"));
        let other = of_call("c", "FAX:+4950", Some("2"));
        let alone = of_call("d", "FAX:+4960", None);
        let both = Match::Waiting(vec![a.clone(), b.clone()]);
        assert_eq!(chosen(&[&a, &b], &[], None), both);
        assert_eq!(chosen(&[&a, &b], &[], Some("+4940")), one(&b), "it may still name one of them");
        assert_eq!(chosen(&[&a, &b, &other], &[], None), Match::Ambiguous);
        assert_eq!(chosen(&[&a, &b, &alone], &[], None), Match::Ambiguous);
        assert_eq!(chosen(&[&alone, &of_call("e", "FAX:+4970", None)], &[], None), Match::Ambiguous);
    }

    #[test]
    fn where_more_wait_than_are_told_nobody_is_chosen() {
        let number = |n: usize| waiting(&n.to_string(), &[&format!("FAX:+49{n}")]);
        let all: Vec<_> = (0..FoundReceipts::MAX_WAITING).map(number).collect();
        let all: Vec<_> = all.iter().collect();
        assert_eq!(chosen(&all[1..], &[], Some("4917")), one(all[17]));
        assert_eq!(chosen(&all, &[], Some("4917")), Match::Ambiguous);
    }

    #[test]
    fn who_waits_comes_before_who_waited() {
        let now = waiting("a", &["FAX:+4930"]);
        let then = past(1, "FAX:+4930", Some(ReceiptWord::Failed));
        assert_eq!(chosen(&[&now], &[&then], None), one(&now));
    }

    #[test]
    fn what_comes_afterwards_is_told_apart_by_the_newest_that_it_may_be_about() {
        use Afterthought::{Contradicts, Late, Repeated};
        let of = |word| past(2, "FAX:+4930", word);
        for (word, expected) in [
            (Some(ReceiptWord::Delivered), Repeated),
            (Some(ReceiptWord::Relayed), Repeated),
            (Some(ReceiptWord::Failed), Contradicts),
            (None, Late),
        ] {
            let older = past(1, "FAX:+4930", Some(ReceiptWord::Failed));
            let newer = past(3, "FAX:+4940", Some(ReceiptWord::Failed));
            let all = [&newer, &of(word), &older];
            assert_eq!(chosen(&[], &all, Some("4930")), Match::Past(expected, of(word)));
        }
        assert_eq!(chosen(&[], &[&of(Some(ReceiptWord::Failed))], Some("4950")), Match::Nobody);
    }

    #[test]
    fn another_word_after_a_retry_is_for_the_next_attempt() {
        let retried = past(1, "FAX:+4930", Some(ReceiptWord::Retry));
        assert_eq!(chosen(&[], &[&retried], None), Match::Nobody);
    }

    #[test]
    fn an_address_that_nobody_of_the_waiting_has_may_be_one_of_the_past() {
        let now = waiting("a", &["FAX:+4930"]);
        let then = past(1, "FAX:+4940", Some(ReceiptWord::Failed));
        let expected = Match::Past(Afterthought::Contradicts, then.clone());
        assert_eq!(chosen(&[&now], &[&then], Some("+4940")), expected);
    }
}
