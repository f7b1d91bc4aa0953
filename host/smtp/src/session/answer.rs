//! Answers: what the host's verdict on a sender, a recipient or a message leads to.

use super::{Question, Session, State, Transaction};
use crate::{EnhancedCode, Verdict};

impl Session {
    /// Writes the reply to what the host was asked, and goes on accordingly.
    pub(super) fn settle(&mut self, question: Question, output: &mut Vec<u8>) {
        let verdict = self.verdict.take().unwrap_or_else(|| {
            // Neither accepted nor lost: the client will come again.
            Verdict::new(451, EnhancedCode::new(4, 3, 0), "no decision was made")
        });
        let accepted = verdict.is_accepted();
        let (usual, text) = match question {
            Question::Mail(mail) => {
                self.aftermath = !accepted;
                if accepted {
                    let recipients = Vec::new();
                    self.transaction = Some(Transaction { mail, recipients, refused: false, chunks: None });
                }
                (EnhancedCode::new(2, 1, 0), "sender ok")
            }
            Question::Recipient(recipient) => {
                if let Some(transaction) = &mut self.transaction {
                    if accepted {
                        transaction.recipients.push(recipient);
                    } else {
                        transaction.refused = true;
                    }
                }
                (EnhancedCode::new(2, 1, 5), "recipient ok")
            }
            Question::Message => {
                if accepted {
                    self.errors = 0;
                }
                (EnhancedCode::new(2, 0, 0), "message accepted")
            }
        };
        let text = verdict.text_or(if accepted { text } else { "refused" });
        self.reply(output, verdict.code(), verdict.enhanced_or(usual), text);
        if verdict.closes() {
            self.give_up();
            self.state = State::Closed;
        }
    }
}
