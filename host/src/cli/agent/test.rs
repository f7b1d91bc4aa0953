//! `postern agent test`: the conformance suite on a component, with a table of what each rule says.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use postern_agent::conformance::{self, DEFAULT_CALLS, Finding, Progress, Verdict};
use postern_agent::{AgentSpec, Grants, Runtime, RuntimeConfig};
use postern_model::text::one_line;
use serde_json::{Value, json};

use super::super::table::Table;
use super::super::{CliError, CliResult, Common, NO, print_json};
use crate::config::{self, LogFormat};
use crate::{connector, logging};

/// Instances that the sandbox of a test holds; the suite uses one or two at a time.
const INSTANCES: u32 = 8;
/// The longest reason that is printed, in bytes.
const MAX_REASON: usize = 600;

#[derive(Args)]
pub struct TestArguments {
    /// The component (`.wasm`).
    file: PathBuf,
    /// The agent's settings as JSON, such as '{"url": "https://fax.example/"}'.
    #[arg(long, value_name = "JSON", conflicts_with = "connector")]
    settings: Option<String>,
    /// Take settings, limits and `delivery_protocol` from this delivery-agent connector of the config (--config).
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// Open the doors that the connector grants: all messages of the suite, some thousands, then go to its far end.
    #[arg(long, requires = "connector")]
    with_grants: bool,
    /// Messages over one connection, to see whether the agent's memory stays flat.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CALLS, value_parser = clap::value_parser!(u32).range(2..))]
    calls: u32,
}

pub fn run(common: &Common, arguments: &TestArguments) -> CliResult {
    if std::env::var_os(logging::LEVEL_VARIABLE).is_some() {
        logging::start(LogFormat::Text);
    }
    let spec = spec(common, arguments)?;
    let cache = tempfile::tempdir().map_err(CliError::failed)?;
    let mut settings = RuntimeConfig::new(cache.path());
    (settings.max_instances, settings.max_large_instances) = (INSTANCES, INSTANCES);
    let runtime = Runtime::new(settings).map_err(CliError::failed)?;
    let mut screen = Screen::new(common.json);
    let verdicts = conformance::run(&runtime, &spec, arguments.calls, &mut |progress| screen.show(progress));
    screen.clear();
    let verdicts = verdicts.map_err(CliError::failed)?;
    let count = Count::of(&verdicts);
    if common.json {
        print_json(&as_json(&spec, arguments.calls, &verdicts, &count));
    } else {
        print(&verdicts, &count);
    }
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// What is tried, with which settings, limits and grants.
fn spec(common: &Common, arguments: &TestArguments) -> Result<AgentSpec, CliError> {
    let Some(name) = &arguments.connector else {
        let mut spec = AgentSpec::new(&arguments.file, "test");
        if let Some(text) = &arguments.settings {
            spec.settings = serde_json::from_str(text)
                .map_err(|error| CliError::usage(format!("--settings is not JSON: {error}")))?;
        }
        return Ok(spec);
    };
    // Without its grants it does not need its secrets, which this user may not be allowed to read.
    let load = if arguments.with_grants { config::load } else { config::load_for_viewing };
    let (config, _) = load(&common.config).map_err(|report| CliError::usage(report.human()))?;
    let found = config.delivery_agent_connectors.iter().find(|agent| *agent.common.name == **name);
    let found = found.ok_or_else(|| {
        let path = common.config.display();
        CliError::usage(format!("{path} has no [delivery_agent_connectors.{name}]"))
    })?;
    let mut spec = connector::agent_spec(found).map_err(CliError::usage)?;
    spec.component.clone_from(&arguments.file);
    if !arguments.with_grants {
        spec.grants = Grants::default();
        spec.secrets.clear();
    }
    Ok(spec)
}

/// How far the run is, on one line of a terminal that is written over and over.
struct Screen {
    is_shown: bool,
    doing: &'static str,
}

impl Screen {
    fn new(silent: bool) -> Self {
        Self { is_shown: !silent && std::io::stderr().is_terminal(), doing: "" }
    }

    fn show(&mut self, progress: Progress) {
        match progress {
            Progress::Doing(what) => {
                self.doing = what;
                self.line(&format!("{what} ..."));
            }
            Progress::Calls { done, of } => self.line(&format!("message {done} of {of} over one connection")),
        }
    }

    fn clear(&mut self) {
        self.line("");
    }

    fn line(&self, text: &str) {
        if self.is_shown {
            // A terminal that is gone is no reason to end the test.
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{text}");
        }
    }
}

/// How many rules say what.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    not_applicable: usize,
}

impl Count {
    fn of(verdicts: &[Verdict]) -> Self {
        verdicts.iter().fold(Self::default(), |mut count, verdict| {
            match verdict.finding {
                Finding::Passed => count.passed += 1,
                Finding::Failed(_) => count.failed += 1,
                Finding::NotApplicable(_) => count.not_applicable += 1,
            }
            count
        })
    }
}

/// A finding in a word or two, with its reason.
fn words(finding: &Finding) -> (&'static str, Option<&str>) {
    match finding {
        Finding::Passed => ("passed", None),
        Finding::Failed(how) => ("failed", Some(how)),
        Finding::NotApplicable(why) => ("not applicable", Some(why)),
    }
}

fn print(verdicts: &[Verdict], count: &Count) {
    let mut table = Table::new(&["rule", "finding", "name", "reason"]);
    for Verdict { rule, finding } in verdicts {
        let (word, reason) = words(finding);
        // A failure has room for its reason below.
        let reason = reason.filter(|_| word != "failed").unwrap_or_default();
        table.row([rule.id, word, rule.name, reason].map(str::to_owned));
    }
    table.print();
    for Verdict { rule, finding } in verdicts {
        if let Finding::Failed(how) = finding {
            println!("\n{} {}\n  {}", rule.id, rule.sentence, one_line(how, MAX_REASON));
        }
    }
    let Count { passed, failed, not_applicable } = count;
    println!("\n{passed} passed, {failed} failed, {not_applicable} not applicable");
    if let Some(why) = nothing_delivered(verdicts) {
        println!("Nothing was delivered: {}", one_line(why, MAX_REASON));
        println!("See whether the agent needs --settings, or the grants of a --connector (--with-grants).");
    }
}

/// Why the rules about deliveries could not be tried, for an agent that breaks none.
fn nothing_delivered(verdicts: &[Verdict]) -> Option<&str> {
    let deliveries = verdicts.iter().find(|verdict| verdict.rule.name == "deliver_returns")?;
    match &deliveries.finding {
        Finding::NotApplicable(why) => Some(why),
        _ => None,
    }
}

fn as_json(spec: &AgentSpec, calls: u32, verdicts: &[Verdict], count: &Count) -> Value {
    let rules = verdicts.iter().map(|Verdict { rule, finding }| {
        let (word, reason) = words(finding);
        json!({
            "id": rule.id, "name": rule.name, "sentence": rule.sentence, "finding": word, "reason": reason
        })
    });
    json!({
        "file": spec.component,
        "calls": calls,
        "ok": count.failed == 0,
        "passed": count.passed,
        "failed": count.failed,
        "not_applicable": count.not_applicable,
        "rules": rules.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        arguments: TestArguments,
    }

    fn arguments(words: &[&str]) -> Result<TestArguments, clap::Error> {
        Words::try_parse_from(["test"].iter().chain(words)).map(|words| words.arguments)
    }

    fn common(config: PathBuf) -> Common {
        Common { config, json: false }
    }

    #[test]
    fn settings_come_from_the_command_line_or_from_a_connector_and_grants_only_when_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let common = common(folder.path().join("postern.toml"));
        let text = "[host]\nname = \"gw.example\"\n[secrets]\nkey = { env = \"POSTERN_TEST_NO_SUCH\" }\n\
            [delivery_agent_connectors.fax]\naddress_spaces = [\"FAX:*\"]\nagent = \"x.wasm\"\n\
            settings = { url = \"https://a.example/\" }\nlimits = { memory = \"8MiB\" }\n\
            grants = { http = [\"https://a.example/\"], secrets = [\"key\"] }\n";
        std::fs::write(&common.config, text).unwrap();
        let given = spec(&common, &arguments(&["a.wasm", "--settings", r#"{"a": 1}"#]).unwrap()).unwrap();
        assert_eq!((given.settings, given.grants), (json!({ "a": 1 }), Grants::default()));
        let taken = spec(&common, &arguments(&["a.wasm", "--connector", "fax"]).unwrap()).unwrap();
        assert_eq!((&taken.component, &taken.grants), (&PathBuf::from("a.wasm"), &Grants::default()));
        assert_eq!((&taken.settings["url"], taken.limits.memory), (&json!("https://a.example/"), 8 << 20));
        // Its secret cannot be had, which matters only now.
        let granted = arguments(&["a.wasm", "--connector", "fax", "--with-grants"]).unwrap();
        assert!(spec(&common, &granted).unwrap_err().text.contains("POSTERN_TEST_NO_SUCH"));
        std::fs::write(&common.config, text.replace(", secrets = [\"key\"]", "").replace("key =", "# key ="))
            .unwrap();
        assert_eq!(spec(&common, &granted).unwrap().grants.http.len(), 1);
    }

    #[test]
    fn wrong_usage_is_told() {
        assert!(arguments(&["a.wasm", "--settings", "{}", "--connector", "fax"]).is_err());
        assert!(arguments(&["a.wasm", "--with-grants"]).is_err());
        assert!(arguments(&["a.wasm", "--calls", "1"]).is_err());
        let common = common(PathBuf::from("none.toml"));
        let error = spec(&common, &arguments(&["a.wasm", "--settings", "{"]).unwrap()).unwrap_err();
        assert!(error.text.contains("--settings is not JSON"), "{}", error.text);
    }
}
