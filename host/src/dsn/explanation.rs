//! Explanation: what an enhanced status code means, in a sentence for the sender.

use postern_model::EnhancedStatus;

/// Two sentences about a recipient whose receipts never came.
pub(super) const UNCONFIRMED: &str = "The system at the other side accepted the message and never said what became of it. It may have arrived.";

/// A sentence about a failure or delay of this status (RFC 3463 and its registry). The class does not matter: a
/// full mailbox is full whether it is tried again or not.
pub(super) fn of(status: EnhancedStatus) -> &'static str {
    let EnhancedStatus(_, subject, detail) = status;
    match (subject, detail) {
        (1, 1) => "There is no such recipient. Check the address for mistakes.",
        (1, 2 | 10) => "The domain of the address does not exist or takes no mail. Check it for mistakes.",
        (1, 3) => "The address is not written as it must be. Check it for mistakes.",
        (1, 4) => "The address fits more than one recipient.",
        (1, 6) => "The recipient has moved and left no new address.",
        (1, _) => "Something is wrong with the address.",
        (2, 1) => "The recipient takes no messages at present.",
        (2, 2) => "The mailbox of the recipient is full.",
        (2, 3) => "The message is larger than this recipient may receive.",
        (2, _) => "Something is wrong with the mailbox of the recipient.",
        (3, 1) => "The receiving system has no room left.",
        (3, 2) => "The receiving system takes no messages at present.",
        (3, 4) => "The message is too large for the receiving system. A smaller one may arrive.",
        (3, _) => "The receiving system has a fault.",
        (4, 1) => "Nobody answered at the other side.",
        (4, 2) => "The connection to the other side broke off.",
        (4, 3 | 4) => "There is no way known to this address. Check it for mistakes, or ask the postmaster.",
        (4, 5) => "The way to the recipient is overloaded.",
        (4, 6) => "The message went round in circles.",
        (4, 7) => "The message could not be delivered in the time allowed for it.",
        (4, _) => "The way to the recipient has a fault.",
        (5, 3) => "There are more recipients than the receiving system takes.",
        (5, _) => "This system and the receiving one did not understand each other.",
        (6, 1 | 3) => "The content is of a kind that cannot be delivered there or be converted for it.",
        (6, _) => "The content could not be delivered as it is.",
        (7, 1) => {
            "You are not allowed to send to this recipient, or the receiving system refused the message."
        }
        (7, 2) => "You are not allowed to send to this list.",
        (7, 8 | 9 | 11 | 13) => "The receiving system did not accept how this system identified itself.",
        (7, _) => "The receiving system refused the message by its rules.",
        _ => "The reason is not known more closely than the response says.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_codes_have_sentences_of_their_own() {
        let common = [(1, 1), (1, 3), (2, 2), (3, 4), (4, 4), (4, 7), (7, 1), (0, 0)]
            .map(|(s, d)| of(EnhancedStatus(5, s, d)));
        for (i, sentence) in common.iter().enumerate() {
            assert!(sentence.ends_with('.'));
            assert!(!common[..i].contains(sentence), "{sentence}");
        }
        assert_eq!(of(EnhancedStatus(4, 2, 2)), of(EnhancedStatus(5, 2, 2)));
        assert!(of(EnhancedStatus(5, 99, 999)).contains("not known"));
    }
}
