//! `cargo xtask campaign NAME`: a test of the suite with many more rounds than CI has time for.

use std::path::Path;

use crate::command::Step;

/// A campaign: its name, the package and the test, and what asks for more rounds.
struct Campaign {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    variable: &'static str,
    rounds: &'static str,
}

const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "drop-kill",
        package: "postern-drop",
        test: "tests::crash",
        variable: "POSTERN_KILL_ROUNDS",
        rounds: "200",
    },
    Campaign {
        name: "drop-reader",
        package: "postern-drop",
        test: "tests::campaign",
        variable: "POSTERN_DROP_FILES",
        rounds: "10000",
    },
];

/// Runs the campaign that the first word names; a second word is the number of rounds.
///
/// # Errors
/// When there is none of that name, or it fails.
pub fn run(root: &Path, words: &[String]) -> Result<(), String> {
    let known = || CAMPAIGNS.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
    let name = words.first().ok_or_else(|| format!("which campaign? known: {}", known()))?;
    let campaign = CAMPAIGNS.iter().find(|campaign| campaign.name == name);
    let campaign = campaign.ok_or_else(|| format!("there is no campaign {name:?}; known: {}", known()))?;
    let Campaign { package, test, variable, rounds, .. } = campaign;
    let rounds = words.get(1).map_or(*rounds, String::as_str);
    let command = format!("test --release --locked --package {package} --lib {test} -- --nocapture");
    Step::cargo("campaign", &command, root).env(variable, rounds).run()
}
