//! Granted folders: what an agent reaches in them, what it does not reach from them, and what it may use up.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use postern_agent::{Access, Agent, AgentConnection, DirectoryGrant, Limits, LoadError};
use support::{Bench, logs, open, request};

/// The error codes of `wasi:filesystem` that these tests meet.
const CODES: [(u32, &str); 12] = [
    (6, "quota"),
    (7, "exist"),
    (8, "file-too-large"),
    (12, "invalid"),
    (14, "is-directory"),
    (15, "loop"),
    (18, "name-too-long"),
    (20, "no-entry"),
    (24, "not-directory"),
    (31, "not-permitted"),
    (33, "read-only"),
    (36, "cross-device"),
];

/// A world of four folders: one that is granted for reading, two for writing, and one that is not granted.
struct World {
    bench: Bench,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new();
        for name in ["in", "spool", "other", "secret"] {
            fs::create_dir(bench.folder().join(name)).unwrap();
        }
        fs::write(bench.folder().join("in/letter"), "inside").unwrap();
        fs::write(bench.folder().join("secret/key"), "SECRET").unwrap();
        Self { bench }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.folder().join(name)
    }

    /// An agent with `/in` (0) for reading, `/spool` (1) and `/elsewhere` (2) for writing.
    fn agent(&self, connector: &str, change: impl FnOnce(&mut Limits)) -> Agent {
        let mut spec = self.bench.spec("agents/files-script");
        spec.connector = connector.to_owned();
        let grant = |name: &str, seen, access| DirectoryGrant::new(self.path(name), seen, access).unwrap();
        spec.grants.directories = vec![
            grant("in", None, Access::Read),
            grant("spool", None, Access::Write),
            grant("other", Some("/elsewhere"), Access::Write),
        ];
        spec.limits.cpu = Duration::from_secs(10);
        change(&mut spec.limits);
        self.bench.runtime.load(spec).unwrap()
    }

    /// What each of these scripts gave, each in a call of its own over one connection.
    fn act(&self, agent: &Agent, scripts: &[&str]) -> Vec<String> {
        let (agent, scripts) = (agent.clone(), scripts.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        self.bench.run(async move {
            let mut connection = open(&agent).await;
            let mut texts = Vec::new();
            for script in scripts {
                texts.push(act(&mut connection, script.as_bytes()).await.unwrap());
            }
            connection.close().await.unwrap();
            texts
        })
    }

    /// What one script gave.
    fn one(&self, agent: &Agent, script: &str) -> String {
        self.act(agent, &[script]).remove(0)
    }
}

/// What the script gave, or the fault that ended it.
async fn act(connection: &mut AgentConnection, script: &[u8]) -> Result<String, String> {
    let message = [b"Subject: x\r\n\r\n#", script].concat();
    let report = connection.deliver(&request(1, &message)).await;
    let Some(said) = report.outcomes.first() else { return Err(support::fault(&report)) };
    let mut text = said.outcome.response().text.clone();
    for (code, name) in CODES {
        text = text.replace(&format!("!{code};"), &format!("!{name};"));
    }
    Ok(text)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn an_agent_reads_and_writes_what_is_granted() {
    let world = World::new();
    let agent = world.agent("granted", |_| {});
    fs::create_dir(world.path("in/deep")).unwrap();
    fs::write(world.path("in/deep/note"), "deep").unwrap();
    symlink("deep/note", world.path("in/inward")).unwrap();
    let script = "r0 letter;r0 deep/note;r0 deep/../letter;r0 inward;R0 letter;L0 inward;d0 deep;";
    assert_eq!(world.one(&agent, script), "rinside;rdeep;rinside;rdeep;R6;Ldeep/note;dnote,;");
    let script = "w1 a=one;a1 a= two;r1 a;k1 sub/;w1 sub/b=three;m11 sub/b=c;r1 c;u1 a;e1 c;t1 c=2;r1 c;r1 a;d1 sub/b;";
    let said = "w;a;rone two;k;w;m;rthree;u;e!exist;t;rth;r!no-entry;d!no-entry;";
    assert_eq!(world.one(&agent, script), said);
    assert_eq!(fs::read_to_string(world.path("spool/c")).unwrap(), "th");
    let stats = agent.stats();
    assert_eq!((stats.directory_made, stats.directory_refused), (3, 0));
    assert_eq!((stats.directory_read, stats.directory_written), (6 + 4 + 6 + 4 + 6 + 7 + 5 + 2, 3 + 4 + 5));
}

#[test]
fn what_an_agent_makes_is_for_the_host_alone() {
    let world = World::new();
    let agent = world.agent("modes", |_| {});
    assert_eq!(world.one(&agent, "w1 a=x;k1 sub;e1 sub/b;a1 c=x;"), "w;k;e;a;");
    let modes = ["a", "sub", "sub/b", "c"].map(|name| mode(&world.path("spool").join(name)));
    assert_eq!(modes, [0o600, 0o700, 0o600, 0o600]);
}

#[test]
fn every_way_out_is_refused_counted_and_logged() {
    logs::keep();
    let world = World::new();
    let agent = world.agent("ways-out", |_| {});
    let secret = world.path("secret");
    symlink(&secret, world.path("in/folder")).unwrap();
    symlink(secret.join("key"), world.path("in/file")).unwrap();
    symlink("../secret/key", world.path("in/climbs")).unwrap();
    symlink(secret.join("new"), world.path("spool/new")).unwrap();
    symlink(&secret, world.path("spool/folder")).unwrap();
    symlink("/proc/self", world.path("spool/self")).unwrap();
    let absolute = secret.join("key");
    let tries = [
        ("r0 ../secret/key;", "not-permitted"),
        ("r0 ./../secret/key;", "not-permitted"),
        ("r0 x/../../secret/key;", "no-entry"),
        ("r0 folder/../letter;", "not-permitted"),
        ("d0 ..;", "not-permitted"),
        (&format!("r0 {};", absolute.display()), "not-permitted"),
        ("r0 /proc/self/environ;", "not-permitted"),
        ("r0 folder/key;", "not-permitted"),
        ("r0 file;", "not-permitted"),
        ("r0 climbs;", "not-permitted"),
        ("d0 folder;", "not-permitted"),
        ("L0 file;", "not-permitted"),
        ("w1 ../secret/key=x;", "not-permitted"),
        ("w1 new=x;", "not-permitted"),
        ("w1 folder/key=x;", "not-permitted"),
        ("w1 folder/fresh=x;", "not-permitted"),
        ("e1 ../secret/fresh;", "not-permitted"),
        ("k1 ../secret/fresh;", "not-permitted"),
        ("k1 folder/fresh;", "not-permitted"),
        ("u1 folder/key;", "not-permitted"),
        ("u1 ../secret/key;", "not-permitted"),
        ("r1 self/environ;", "not-permitted"),
        ("m11 ../secret/key=taken;", "not-permitted"),
        ("m11 folder/key=taken;", "not-permitted"),
        ("l1 ../secret/key=taken;", "not-permitted"),
        ("y1 ../secret=link;", "not-permitted"),
        ("y1 a=link;", "not-permitted"),
    ];
    let scripts: Vec<&str> = tries.iter().map(|(script, _)| *script).collect();
    let said = world.act(&agent, &scripts);
    for ((script, code), said) in tries.iter().zip(&said) {
        assert_eq!(said, &format!("{}!{code};", &script[..1]), "{script}");
    }
    assert_eq!(fs::read_to_string(secret.join("key")).unwrap(), "SECRET");
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1, "nothing was made or taken there");
    let refused = tries.iter().filter(|(_, code)| *code == "not-permitted").count();
    assert_eq!(agent.stats().directory_refused, refused as u64);
    let lines = logs::of("ways-out");
    let told = |to: &str| lines.iter().any(|l| l.contains("capability=directory") && l.contains(to));
    assert!(told("to=\"/in/../secret/key\"") && told("to=\"/spool/link\""), "{lines:#?}");
}

#[test]
fn a_folder_that_is_granted_for_reading_is_not_changed() {
    let world = World::new();
    let agent = world.agent("read-only", |_| {});
    let scripts = [
        "w0 letter=x;",
        "w0 new=x;",
        "e0 new;",
        "a0 letter=x;",
        "t0 letter=0;",
        "k0 new;",
        "u0 letter;",
        "m00 letter=new;",
        "m01 letter=new;",
        "m10 x=letter;",
    ];
    for (script, said) in scripts.iter().zip(world.act(&agent, &scripts)) {
        assert_eq!(said, format!("{}!read-only;", &script[..1]), "{script}");
    }
    assert_eq!(agent.stats().directory_refused, scripts.len() as u64);
    assert_eq!(fs::read_to_string(world.path("in/letter")).unwrap(), "inside");
    assert_eq!(fs::read_dir(world.path("in")).unwrap().count(), 1);
}

#[test]
fn nothing_moves_or_is_linked_from_one_grant_into_another() {
    let world = World::new();
    let agent = world.agent("across", |_| {});
    assert_eq!(world.one(&agent, "w1 a=x;m12 a=b;l1 a=b;"), "w;m!cross-device;l!not-permitted;");
    assert!(world.path("spool/a").exists() && fs::read_dir(world.path("other")).unwrap().count() == 0);
    assert_eq!(fs::metadata(world.path("spool/a")).unwrap().nlink(), 1);
}

#[test]
fn a_link_that_is_exchanged_while_the_agent_opens_leads_nowhere() {
    let world = World::new();
    let agent = world.agent("swapped", |limits| limits.log_lines = 1);
    let (spool, secret) = (world.path("spool"), world.path("secret"));
    fs::create_dir(spool.join("real")).unwrap();
    fs::write(spool.join("real/key"), "inside").unwrap();
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), 1500);
    let swapper = {
        let stop = stop.clone();
        thread::spawn(move || {
            let mut swaps = 0_u32;
            while !stop.load(Relaxed) {
                // `door` is now the folder, now a link out, and each exchange is one step.
                symlink(&secret, spool.join("out")).unwrap();
                fs::rename(spool.join("out"), spool.join("door")).unwrap();
                symlink("real", spool.join("in")).unwrap();
                fs::rename(spool.join("in"), spool.join("door")).unwrap();
                swaps += 1;
            }
            swaps
        })
    };
    let run = agent.clone();
    let (inside, refused, other) = world.bench.run(async move {
        let mut connection = open(&run).await;
        let (mut inside, mut refused, mut other) = (0, 0, Vec::new());
        for _ in 0..rounds {
            let said =
                act(&mut connection, b"r1 door/key;w1 door/new=x;k1 door/sub;u1 door/new;").await.unwrap();
            let (read, rest) = said.split_once(';').unwrap();
            match read {
                "rinside" => inside += 1,
                "r!31" | "r!not-permitted" => refused += 1,
                _ => other.push(said.clone()),
            }
            assert!(!rest.contains("SECRET"), "{said}");
        }
        (inside, refused, other)
    });
    stop.store(true, Relaxed);
    let swaps = swapper.join().unwrap();
    assert!(!other.iter().any(|said| said.contains("SECRET")), "{other:?}");
    assert_eq!(fs::read_dir(world.path("secret")).unwrap().count(), 1, "nothing was made outside");
    assert_eq!(fs::read_to_string(world.path("secret/key")).unwrap(), "SECRET");
    assert!(
        inside > 10 && refused > 10 && swaps > 100,
        "{inside} in, {refused} refused, {swaps} swaps, {other:?}"
    );
}

#[test]
fn what_is_no_file_is_not_opened() {
    let world = World::new();
    let agent = world.agent("pipes", |limits| limits.deadline = Duration::from_secs(20));
    let pipe = world.path("spool/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path("spool/socket")).unwrap();
    let began = Instant::now();
    let said = world.one(&agent, "r1 pipe;w1 pipe=x;r1 socket;r1 nothing;");
    assert_eq!(said, "r!not-permitted;w!not-permitted;r!not-permitted;r!no-entry;");
    assert!(began.elapsed() < Duration::from_secs(10), "nobody waits for the far end of a pipe");
    assert_eq!(agent.stats().directory_refused, 3);
}

#[test]
fn a_path_that_is_none_is_an_error_or_a_trap_and_nothing_else() {
    let world = World::new();
    let agent = world.agent("paths", |limits| limits.directory_path = 100);
    let (short, long) = (format!("r0 {};", "x".repeat(100)), format!("r0 {};", "x".repeat(101)));
    let scripts = ["r0 a\0b;", "w1 a\0b=x;", "k1 a\0b;", "w1 =x;", "w1 .=x;", "w1 sub/=x;", &short, &long];
    let said = world.act(&agent, &scripts);
    let expected = [
        "r!invalid;",
        "w!invalid;",
        "k!invalid;",
        "w!invalid;",
        "w!is-directory;",
        "w!invalid;",
        "r!no-entry;",
        "r!name-too-long;",
    ];
    assert_eq!(said, expected);
    let fault = world.bench.run(async move {
        let mut connection = open(&agent).await;
        let fault = act(&mut connection, b"r0 \xff\xfe;").await.unwrap_err();
        assert!(!connection.is_usable());
        fault
    });
    assert!(fault.contains("utf-8"), "{fault}");
    assert_eq!(fs::read_dir(world.path("spool")).unwrap().count(), 0);
}

#[test]
fn every_limit_holds_and_is_named() {
    logs::keep();
    let world = World::new();
    let agent = world.agent("limited", |limits| {
        limits.directory_open = 2;
        limits.directory_made = 2;
        limits.directory_read = 10;
        limits.directory_written = 8192;
        limits.directory_file = 5000;
        limits.directory_entries = 3;
    });
    fs::write(world.path("in/ten"), "0123456789").unwrap();
    fs::write(world.path("in/eleven"), "0123456789a").unwrap();
    let table = [
        // Ten bytes may be read, and then the end is seen.
        ("R0 ten;", "R10;"),
        ("R0 eleven;", "R!quota10;"),
        ("r0 ten;r0 letter;", "r0123456789;r!quota;"),
        ("r0 letter;r0 letter;r0 letter;", "rinside;rinsi;r!quota;"),
        ("w1 a=x;w1 b=x;w1 c=x;k1 d;w1 a=y;", "w;w;w!quota;k!quota;w;"),
        ("z1 a=5000;z1 b=3192;z1 b=1;", "z;z;z!quota;"),
        (
            "z1 a=5001;p1 a=4999;p1 a=5000;t1 a=5000;t1 a=5001;",
            "z!file-too-large;p;p!file-too-large;t;t!file-too-large;",
        ),
        ("t1 a=0;A1 a=5000;A1 a=1;", "t;A;A!file-too-large;"),
        ("t1 a=0;t1 b=0;A1 a=5000;A1 b=4000;", "t;t;A;A!quota;"),
        ("d0 .;k1 d;w1 d/e=x;d1 .;", "dletter,ten,eleven,;k;w;dd,b,a,;"),
        ("w1 f=x;d1 .;", "w;d!quota;"),
        ("o0 letter;o0 letter;o0 letter;r0 letter;d0 .;", "o;o;o!quota;r!quota;d!quota;"),
        // What is left open stays open, and counts in the next call too.
        ("o0 letter;", "o!quota;"),
    ];
    let scripts: Vec<&str> = table.iter().map(|(script, _)| *script).collect();
    let sorted = |text: &str| {
        let mut bytes: Vec<_> = text.split([';', ',', 'd']).map(str::to_owned).collect();
        bytes.sort();
        bytes
    };
    for ((script, expected), said) in table.iter().zip(world.act(&agent, &scripts)) {
        // Folders are listed in no order.
        assert_eq!(sorted(&said.replace("!6", "!quota")), sorted(expected), "{script}: {said}");
    }
    let lines = logs::of("limited").join("\n");
    for limit in ["open = 2", "made = 2", "read = 10", "written = 8192", "file = 5000", "entries = 3"] {
        assert!(lines.contains(&format!("directory_{limit}")), "{limit}: {lines}");
    }
}

#[test]
fn a_stream_counts_as_open_and_appends_to_the_end_that_is_there() {
    let world = World::new();
    let agent = world.agent("streams", |limits| {
        limits.directory_open = 3;
        limits.directory_file = 5000;
    });
    // Four thousand, and then two more: both streams were made before the first byte.
    assert_eq!(world.one(&agent, "t1 a=0;g1 a=2000;"), "t;g;");
    let said = world.one(&agent, "g1 a=1000;");
    assert!(said.contains("file-too-large"), "{said}");
    assert_eq!(fs::metadata(world.path("spool/a")).unwrap().len(), 5000);
    // The descriptor is closed, and its file is open.
    let said = world.one(&agent, "s0 letter;s0 letter;s0 letter;").replace("!6", "!quota");
    assert_eq!(said, "s;s;s!quota;");
}

#[test]
fn a_new_connection_starts_with_nothing_open() {
    let world = World::new();
    let agent = world.agent("fresh", |limits| limits.directory_open = 1);
    for _ in 0..3 {
        assert_eq!(world.one(&agent, "o0 letter;o0 letter;"), "o;o!quota;");
    }
}

#[test]
fn the_deadline_ends_an_agent_that_only_reads_files_and_its_neighbours_go_on() {
    let world = World::new();
    let slow = world.agent("slow", |limits| limits.deadline = Duration::from_millis(500));
    let good = world.agent("good", |_| {});
    let fault = world.bench.run(async move {
        let endless = tokio::spawn(async move {
            let mut connection = open(&slow).await;
            act(&mut connection, b"f0 letter;").await.unwrap_err()
        });
        let mut connection = open(&good).await;
        for _ in 0..20 {
            assert_eq!(act(&mut connection, b"r0 letter;").await.unwrap(), "rinside;");
        }
        endless.await.unwrap()
    });
    assert!(fault.contains("deadline of 500ms"), "{fault}");
}

#[test]
fn an_agent_without_the_grant_sees_no_folder() {
    let world = World::new();
    let spec = world.bench.spec("agents/files-script");
    let agent = world.bench.runtime.load(spec).unwrap();
    let fault = world.bench.run(async move {
        let mut connection = open(&agent).await;
        act(&mut connection, b"r0 letter;").await.unwrap_err()
    });
    assert!(fault.contains("trap") && fault.contains("handle"), "{fault}");
}

#[test]
fn a_granted_folder_that_is_not_there_is_told_when_the_agent_is_loaded() {
    let world = World::new();
    for (name, why) in [("missing", "No such file"), ("in/letter", "Not a directory")] {
        let mut spec = world.bench.spec("agents/files-script");
        spec.grants.directories = vec![DirectoryGrant::new(world.path(name), None, Access::Read).unwrap()];
        let error = world.bench.runtime.load(spec).err().unwrap();
        assert!(matches!(&error, LoadError::Directory { path, .. } if path.ends_with(name)));
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_folder_that_is_put_in_the_place_of_a_granted_one_is_not_reached() {
    let world = World::new();
    let agent = world.agent("replaced", |_| {});
    assert!(!agent.has_other_folders_by_now());
    fs::rename(world.path("in"), world.path("moved")).unwrap();
    symlink(world.path("secret"), world.path("in")).unwrap();
    assert_eq!(world.one(&agent, "r0 letter;r0 key;"), "rinside;r!no-entry;");
    assert!(agent.has_other_folders_by_now(), "so that a reload can open what lies there now");
}
