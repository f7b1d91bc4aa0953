//! `postern demo`: the main job on real mail, in one command and a quarter of a minute.
//!
//! The host runs as it does in earnest, in a process of its own on a config that an operator could have written.
//! Around it this process plays the world: a client that sends mail, a fax service on the web, an old program
//! that empties a folder, and the mail server of the office. What is shown is asked of the host over its control socket.

mod expectation;
mod fax_service;
mod folder;
mod gateway;
mod host_process;
mod interruption;
mod mail_server;
mod samples;
mod screen;
mod story;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use self::expectation::Seen;
use self::fax_service::FaxService;
use self::folder::Folder;
use self::gateway::Gateway;
use self::host_process::HostProcess;
use self::interruption::Interruption;
use self::mail_server::MailServer;
use self::samples::{SAMPLES, Sent};
use self::screen::{Screen, Tone};
use self::watch::Watch;
use super::{CliError, CliResult, Common, NO, print_json};
use crate::operate::Audit;

/// Between one mail and the next, so that people can follow.
const PAUSE: Duration = Duration::from_millis(1500);
/// How long the last recipient may take to be decided.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between one look at what is missing and the next.
const LOOK: Duration = Duration::from_millis(150);

#[derive(Args)]
pub struct DemoArguments {
    /// Where the demo's files go; must be empty. Default: a new folder for temporary files.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Go on serving until Ctrl-C, so that you can send mail of your own.
    #[arg(long)]
    keep: bool,
}

pub fn run(common: &Common, arguments: &DemoArguments) -> CliResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::failed)?;
    runtime.block_on(demonstrate(common, arguments))
}

/// Sets the stage, plays, and clears up: whatever happens, the host is stopped.
async fn demonstrate(common: &Common, arguments: &DemoArguments) -> CliResult {
    let screen = Screen::new(common.json);
    let folder = Folder::make(arguments.directory.as_deref())?;
    let (tell, happenings) = unbounded_channel();
    let fax = FaxService::start(folder.received("fax")).await.map_err(CliError::failed)?;
    let mail_server =
        MailServer::start(folder.received("mail"), tell.clone()).await.map_err(CliError::failed)?;
    folder.write(&fax.url, mail_server.address, &fax.token)?;
    let _gateway =
        Gateway::start(folder.drop_directory(), folder.received("pager"), tell).map_err(CliError::failed)?;
    introduce(&screen, &folder, &fax, &mail_server);

    let mut interruption = Interruption::listen()?;
    let began = Timestamp::now();
    let host = tokio::select! {
        host = HostProcess::start(&folder) => host?,
        () = interruption.wait() => return Err(Interruption::error()),
    };
    let mut play = Play {
        watch: Watch::new(folder.data(), began, happenings),
        sent: Vec::new(),
        missing: Vec::new(),
        screen,
        folder,
        host,
    };
    let result = play.act(arguments.keep, &mut interruption).await;
    if result.is_err() {
        // A host that has ended by itself is the better reason, and has its log to show.
        play.host.check(&play.folder)?;
    }
    let Play { watch, sent, missing, screen, folder, host } = play;
    let stopped = host.stop().await;
    let audit = result?;
    stopped?;
    let good = audit.balanced && missing.is_empty();
    if common.json {
        print_json(&summary(&folder, &watch, &sent, &missing, &audit));
    } else {
        farewell(&screen, &folder, &missing);
        screen.line(if good { Tone::Good } else { Tone::Bad }, &audit.summary());
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// A demo with its host running.
struct Play {
    screen: Screen,
    folder: Folder,
    host: HostProcess,
    watch: Watch,
    sent: Vec<Sent>,
    /// What should have happened and did not.
    missing: Vec<String>,
}

impl Play {
    /// The whole play, then on until a signal if that is wanted; in the end the host recounts.
    async fn act(&mut self, keep: bool, interruption: &mut Interruption) -> Result<Audit, CliError> {
        tokio::select! {
            performed = self.perform() => performed?,
            () = interruption.wait() => return Err(Interruption::error()),
        }
        if keep {
            self.serve_on(interruption).await?;
        }
        self.watch.audit().await
    }

    /// Sends everything, and waits for everything.
    async fn perform(&mut self) -> Result<(), CliError> {
        let now = self.watch.seconds(Timestamp::now());
        let (pid, smtp) = (self.host.pid(), self.host.smtp()?);
        let fine_print = [format!("process {pid}, SMTP on {smtp}")];
        self.screen.step(now, "host", Tone::Action, "`postern run` is ready", &fine_print);
        for (number, sample) in SAMPLES.iter().enumerate() {
            let at = self.watch.seconds(Timestamp::now());
            let sent = sample.send(smtp).await?;
            let to: Vec<&str> = sample.recipients.iter().map(|r| r.address).collect();
            let number = number + 1;
            let what = format!("#{number} of {}: \"{}\"", SAMPLES.len(), sample.subject());
            let addresses = format!("from {} to {}", sample.sender, to.join(", "));
            let fine_print = [sample.about.to_owned(), addresses, sent.reply.clone()];
            self.screen.step(at, "send", Tone::Action, &what, &fine_print);
            self.watch.number(&sent.id, number);
            self.sent.push(sent);
            self.watch.look_for(PAUSE, &self.screen).await?;
        }
        self.wait_for_the_end().await
    }

    async fn wait_for_the_end(&mut self) -> Result<(), CliError> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.host.check(&self.folder)?;
            self.watch.look_for(LOOK, &self.screen).await?;
            self.missing = self.seen().missing();
            if self.missing.is_empty() || Instant::now() >= end {
                return Ok(());
            }
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            sent: &self.sent,
            events: &self.watch.events,
            mails: &self.watch.mails,
            files_taken: self.watch.files_taken,
        }
    }

    /// Watches until a signal comes.
    async fn serve_on(&mut self, interruption: &mut Interruption) -> Result<(), CliError> {
        let smtp = self.host.smtp()?;
        self.screen.line(Tone::Plain, "");
        let state =
            if self.missing.is_empty() { "All of this is done." } else { "Not all came out as it should." };
        let on = "The host goes on until you press Ctrl-C; send it mail of your own:";
        self.screen.paragraph(&format!("{state} {on}"));
        self.screen.line(
            Tone::Plain,
            &format!("  SMTP      {smtp}   to anything@pager.example, +49...@fax.example, ..."),
        );
        if let Some(admin) = self.host.admin() {
            self.screen.line(Tone::Plain, &format!("  metrics   http://{admin}/metrics"));
        }
        self.screen.line(Tone::Plain, "");
        loop {
            tokio::select! {
                () = interruption.wait() => return Ok(()),
                watched = self.watch.look_for(LOOK, &self.screen) => watched?,
            }
            self.host.check(&self.folder)?;
        }
    }
}

fn introduce(screen: &Screen, folder: &Folder, fax: &FaxService, mail_server: &MailServer) {
    screen.paragraph(
        "Postern takes mail by SMTP and hands it to what is not SMTP. This demo runs a real host on a config \
         of its own and sends it real mail. Around the host it plays three parties, each behind a connector:",
    );
    let mail_server = mail_server.address.to_string();
    let parties = [
        ("fax", "a fax service on the web, reached by a sandboxed agent", fax.url.as_str()),
        ("pager", "an old program that empties a folder", "drop/pager"),
        ("internet", "a mail server, for all other mail and for reports", &mail_server),
    ];
    screen.line(Tone::Plain, "");
    for (name, what, place) in parties {
        screen.line(Tone::Plain, &format!("  {name:<9} {what}"));
        screen.line(Tone::Quiet, &format!("  {:9} {place}", ""));
    }
    screen.line(Tone::Plain, "");
    screen.line(Tone::Plain, &format!("Everything lies in {}", folder.path().display()));
    screen.line(Tone::Plain, "");
}

fn farewell(screen: &Screen, folder: &Folder, missing: &[String]) {
    let program = std::env::args().next().unwrap_or_else(|| "postern".to_owned());
    let config = folder.config();
    let command =
        |words: &str| format!("  {} {words} --config {}", shell(&program), shell(&config.to_string_lossy()));
    screen.line(Tone::Plain, "");
    screen.paragraph("The host has stopped; its folder stays. Look around:");
    for words in ["explain +4930123@fax.example", "track --recipient FAX:+4930123", "queue list", "audit"] {
        screen.line(Tone::Plain, &command(words));
    }
    for (name, path) in
        [("config", &config), ("log", &folder.log()), ("received", &folder.path().join("received"))]
    {
        screen.line(Tone::Plain, &format!("  {name:<9} {}", path.display()));
    }
    screen.line(Tone::Plain, "");
    for text in missing {
        screen.line(Tone::Bad, &format!("missing: {text}"));
    }
    screen.paragraph("Before it stopped, the host recounted what became of every recipient:");
}

/// A word as a shell reads it.
fn shell(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@=".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn summary(
    folder: &Folder,
    watch: &Watch,
    sent: &[Sent],
    missing: &[String],
    audit: &Audit,
) -> serde_json::Value {
    let messages: Vec<_> = sent
        .iter()
        .map(|s| json!({ "message_id": s.id, "subject": s.sample.subject(), "sender": s.sample.sender, "reply": s.reply }))
        .collect();
    let reports = watch.mails.iter().filter(|m| m.sender.is_empty()).count();
    json!({
        "directory": folder.path(),
        "config": folder.config(),
        "messages": messages,
        "events": watch.events,
        "reports": reports,
        "files_taken": watch.files_taken,
        "missing": missing,
        "audit": audit,
        "balanced": audit.balanced,
        "summary": audit.summary(),
    })
}

#[cfg(test)]
mod tests {
    use super::shell;

    #[test]
    fn words_are_quoted_for_a_shell_when_they_must_be() {
        assert_eq!(shell("/tmp/a-b/postern.toml"), "/tmp/a-b/postern.toml");
        assert_eq!(shell("/tmp/a b"), "'/tmp/a b'");
        assert_eq!(shell("it's"), r"'it'\''s'");
    }
}
