//! The project's own tools, one verb per file: `cargo xtask <verb>`.

mod agents;
mod bench;
mod campaign;
mod ci;
mod command;
mod fresh_clone;
mod left_out;
mod reference;
mod repository;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
The project's own tools.

Usage: cargo xtask <verb> [options]

Verbs:
  test [--all] [--only-left-out]
          Build Postern and run every test. Needs cargo, rustc, a C compiler and coreutils; ends with a list of
          what was left out for want of something else, and how to add it.
            --all            anything left out is a failure
            --only-left-out  run only what the last `cargo xtask test` left out (listed in the target folder)
  agents build [--check] [--force]
          Build the agents in plugins/ and keep the small ones in plugins/prebuilt.
            --check  change nothing: build again and compare
            --force  build even where the sources have not changed
  bench [options]
          Measure Postern beside the limit of the machine or a peer, in the same run; prints a table.
            --only a|b|c|d   only this part: the queue, agent calls, from SMTP to settled, the drop directory
            --peer postfix   compare with a private Postfix (needs root, Postfix and a C compiler)
            --json FILE      write the result to a file, too
            --messages N, --rounds N, --quick, --folder FOLDER
  docs    Write docs/contract.md, the reference of the agent contract, from the WIT.
  campaign NAME [ROUNDS]
          A test with many more rounds than CI has time for: drop-kill (kill -9 at each step of publishing and at
          random moments), drop-reader (gateways that do whatever they like with 10,000 files).
  tidy    Check the rules that the compiler does not know: who may know whom, sizes, documentation, links, words.
  ci      Everything that must hold before a change lands. Looks at what is committed.

  cargo xtask <verb> --help prints this text.
";

/// Why a verb failed, and the exit code that says so.
struct Failure {
    text: String,
    code: u8,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { text, code: 1 }
    }
}

impl From<agents::Fault> for Failure {
    fn from(fault: agents::Fault) -> Self {
        Self { text: fault.to_string(), code: fault.exit_code() }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// Finds the verb and hands the remaining arguments to it.
fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some((verb, rest)) = arguments.split_first() else {
        return Err(usage("no verb given"));
    };
    if verb == "help" || arguments.iter().any(|a| a == "--help" || a == "-h") {
        print!("{USAGE}");
        return Ok(());
    }
    let root = repository::root();
    match verb.as_str() {
        "agents" => {
            let done = agents::run(&root, agents::AgentsArguments::parse(rest)?)?;
            println!("agents: {done}");
        }
        "bench" => bench::run(&root, rest)?,
        "campaign" => campaign::run(&root, rest).map_err(|fault| usage(&fault))?,
        "ci" => {
            no_options(rest)?;
            ci::run(&root)?;
        }
        "docs" => {
            no_options(rest)?;
            reference::write(&root)?;
        }
        "test" => {
            let options = test::Options::parse(rest).map_err(|fault| usage(&fault))?;
            test::run(&root, options)?;
        }
        "tidy" => {
            no_options(rest)?;
            tidy::run(&root)?;
        }
        other => return Err(usage(&format!("there is no verb '{other}'"))),
    }
    Ok(())
}

/// A wrong command line.
fn usage(what: &str) -> Failure {
    Failure { text: format!("{what}\n\n{USAGE}"), code: 2 }
}

/// Refuses options to a verb that has none, so that a misspelt wish is not silently ignored.
fn no_options(rest: &[String]) -> Result<(), Failure> {
    match rest.first() {
        None => Ok(()),
        Some(first) => Err(usage(&format!("'{first}' is not an option of this verb"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, run};

    fn failure(line: &str) -> Failure {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        run(&words).err().unwrap_or_else(|| panic!("'{line}' is accepted"))
    }

    #[test]
    fn an_unknown_verb_is_named_and_the_usage_shown() {
        let fault = failure("tset");
        assert!(fault.text.contains("'tset'") && fault.text.contains("Usage:"), "{}", fault.text);
        assert_eq!(fault.code, 2);
        assert_eq!(failure("").code, 2);
    }

    #[test]
    fn an_unknown_option_is_refused_before_anything_runs() {
        for (line, option) in
            [("tidy --fast", "'--fast'"), ("test --al", "'--al'"), ("agents build --x", "'--x'")]
        {
            let fault = failure(line);
            assert!(fault.text.contains(option) && fault.code == 2, "{line}: {}", fault.text);
        }
    }

    #[test]
    fn help_is_not_an_error() {
        assert!(run(&["test".to_owned(), "--help".to_owned()]).is_ok());
    }
}
