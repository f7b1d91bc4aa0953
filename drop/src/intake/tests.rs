//! Taking files that strangers put there, and things that are none.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    intake: Intake,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let intake = Intake::open(folder.path(), false, "eml").unwrap();
        Self { folder, intake }
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn take(&self, name: &str) -> Take {
        self.intake.take(OsStr::new(name), Duration::ZERO, Heard::Nothing, SystemTime::now()).unwrap()
    }

    fn taken(&self, name: &str) -> TakenFile {
        match self.take(name) {
            Take::Taken(file) => file,
            other => panic!("{other:?}"),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != TAKEN)
            .collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

#[test]
fn a_file_is_taken_out_of_reach_and_is_the_same_one_after_a_crash() {
    let bench = Bench::new();
    bench.put("a.eml", "content");
    let file = bench.taken("a.eml");
    assert_eq!((bench.names(), file.size), (vec![], 7));
    let id = file.id;
    // As after a kill -9: nobody put it anywhere.
    drop(file);
    let leftovers = bench.intake.leftovers().unwrap();
    assert_eq!(leftovers.len(), 1);
    let Take::Taken(mut again) = bench.intake.resume(&leftovers[0]).unwrap() else { panic!() };
    assert_eq!((again.id, again.original.to_str()), (id, Some("a.eml")));
    let mut text = String::new();
    again.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
    let finished = again.finish();
    bench.intake.remove(&finished).unwrap();
    bench.intake.remove(&finished).unwrap();
    assert!(bench.intake.leftovers().unwrap().is_empty());
}

#[test]
fn a_file_that_is_put_back_has_its_name_and_stays_the_same() {
    let bench = Bench::new();
    bench.put("a.eml", "1");
    let file = bench.taken("a.eml");
    assert!(bench.intake.put_back(&file).unwrap());
    assert_eq!(bench.taken("a.eml").id, file.id);
    // Another file has the name by now: nothing is overwritten.
    bench.put("a.eml", "2");
    assert!(!bench.intake.put_back(&file).unwrap());
    assert_eq!(bench.read("a.eml"), "2");
    assert_eq!(bench.intake.leftovers().unwrap().len(), 1);
}

#[test]
fn only_names_with_the_extension_are_listed() {
    let bench = Bench::new();
    for name in ["b.eml", "A.EML", ".hidden.eml", "x.tmp", "eml", ".eml", "a.bad", "xeml"] {
        bench.put(name, "x");
    }
    assert_eq!(bench.intake.list().unwrap(), ["A.EML", "b.eml"]);
}

#[test]
fn what_is_no_plain_file_is_not_opened_and_can_be_set_aside() {
    let bench = Bench::new();
    let at = |name: &str| bench.folder.path().join(name);
    fs::write(at("secret"), "secret").unwrap();
    symlink(at("secret"), at("link.eml")).unwrap();
    symlink("nowhere", at("dangling.eml")).unwrap();
    fs::create_dir(at("folder.eml")).unwrap();
    let fifo = FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe.eml"), fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.eml")).unwrap();
    let cases = [
        ("link.eml", Unfit::Link),
        ("dangling.eml", Unfit::Link),
        ("folder.eml", Unfit::Directory),
        ("pipe.eml", Unfit::Special),
        ("socket.eml", Unfit::Special),
    ];
    for (name, expected) in cases {
        let Take::Unfit(unfit) = bench.take(name) else { panic!("{name}") };
        assert_eq!(unfit, expected, "{name}");
        let bad = bench.intake.set_aside_in_place(OsStr::new(name), &unfit.to_string()).unwrap();
        assert_eq!(bad.to_str().unwrap(), name.replace(".eml", ".bad"));
        assert_eq!(bench.read(&name.replace(".eml", ".reason.txt")), format!("{unfit}\n"));
    }
    assert!(bench.intake.list().unwrap().is_empty());
    assert_eq!(bench.read("secret"), "secret");
}

#[test]
fn a_file_with_a_second_name_waits_and_is_refused_when_it_keeps_it() {
    let bench = Bench::new();
    bench.put("a.eml", "x");
    fs::hard_link(bench.folder.path().join("a.eml"), bench.folder.path().join("other")).unwrap();
    assert!(matches!(bench.take("a.eml"), Take::Waits(Wait::Linked)));
    let later = SystemTime::now() + LINKED_PATIENCE;
    let much_later = bench.intake.take(OsStr::new("a.eml"), Duration::ZERO, Heard::Whole, later).unwrap();
    assert!(matches!(much_later, Take::Unfit(Unfit::Linked)));
    fs::remove_file(bench.folder.path().join("other")).unwrap();
    assert!(matches!(bench.take("a.eml"), Take::Taken(_)));
}

#[test]
fn a_file_that_changed_a_moment_ago_waits_unless_it_is_known_to_be_whole() {
    let bench = Bench::new();
    let settle = Duration::from_secs(2);
    let take = |name: &str, heard, later| {
        let now = SystemTime::now() + Duration::from_secs(later);
        bench.intake.take(OsStr::new(name), settle, heard, now).unwrap()
    };
    for name in ["new.eml", "old.eml", "whole.eml", "open.eml", "clock.eml"] {
        bench.put(name, "x");
    }
    assert!(matches!(take("new.eml", Heard::Nothing, 0), Take::Waits(Wait::Growing)));
    assert!(matches!(take("old.eml", Heard::Nothing, 3), Take::Taken(_)));
    assert!(matches!(take("whole.eml", Heard::Whole, 0), Take::Taken(_)));
    assert!(matches!(take("open.eml", Heard::Open, 3), Take::Waits(Wait::Growing)));
    assert!(matches!(take("open.eml", Heard::Open, 601), Take::Taken(_)));
    let past = SystemTime::now() - Duration::from_secs(3600);
    let set_back = bench.intake.take(OsStr::new("clock.eml"), settle, Heard::Nothing, past).unwrap();
    assert!(matches!(set_back, Take::Taken(_)), "a clock that was set back does not hold up mail");
}

#[test]
fn a_writer_that_goes_on_after_the_file_was_taken_is_noticed() {
    let bench = Bench::new();
    bench.put("a.eml", "begin");
    let mut writer = fs::OpenOptions::new().append(true).open(bench.folder.path().join("a.eml")).unwrap();
    let file = bench.taken("a.eml");
    assert!(file.is_unchanged().unwrap());
    std::io::Write::write_all(&mut writer, b" and more").unwrap();
    assert!(!file.is_unchanged().unwrap());
}

#[test]
fn a_bad_file_gets_a_name_of_its_own_beside_its_reason() {
    let bench = Bench::new();
    let name = format!("{}.eml", "n".repeat(250));
    for round in 0..3 {
        for name in ["a.eml", &name] {
            bench.put(name, "x");
            let file = bench.taken(name);
            let bad = bench.intake.set_aside(&file, &format!("reason {round}")).unwrap();
            let reason = bad.to_str().unwrap().replace(".bad", ".reason.txt");
            assert_eq!(bench.read(&reason), format!("reason {round}\n"));
        }
    }
    assert!(bench.names().contains(&"a.3.bad".to_owned()), "{:?}", bench.names());
    assert!(bench.intake.leftovers().unwrap().is_empty());
}

#[test]
fn a_file_that_may_not_be_read_stays() {
    let bench = Bench::new();
    bench.put("a.eml", "x");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(bench.folder.path().join("a.eml"), mode).unwrap();
    let taken = bench.take("a.eml");
    // The superuser may read everything.
    let is_root = rustix::process::geteuid().is_root();
    assert!(matches!(taken, Take::Waits(Wait::Unreadable(_))) || is_root, "{taken:?}");
}

#[test]
fn one_at_a_time_takes_files_from_a_directory() {
    let bench = Bench::new();
    let second = Intake::open(bench.folder.path(), false, "eml").unwrap_err();
    assert!(second.to_string().contains("another process takes files"), "{second}");
    let Bench { folder, intake } = bench;
    drop(intake);
    Intake::open(folder.path(), false, "eml").unwrap();
}

#[test]
fn a_private_folder_that_others_may_write_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(TAKEN)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path().join(TAKEN), mode).unwrap();
    let error = Intake::open(folder.path(), false, "eml").unwrap_err();
    assert!(error.to_string().contains("not ours alone"), "{error}");
    let linked = tempfile::tempdir().unwrap();
    symlink(folder.path(), linked.path().join(TAKEN)).unwrap();
    assert!(Intake::open(linked.path(), false, "eml").is_err());
}

#[test]
fn a_directory_that_is_replaced_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let intake = Intake::open(&path, true, "eml").unwrap();
    intake.check_still_there().unwrap();
    fs::rename(&path, folder.path().join("old")).unwrap();
    assert!(intake.check_still_there().is_err());
    fs::create_dir(&path).unwrap();
    assert!(intake.check_still_there().is_err());
}

#[test]
fn any_name_that_a_file_can_have_is_taken() {
    let bench = Bench::new();
    let names: [&[u8]; 4] =
        [b"a b'\"$(x).eml", b"\xff\xfe.eml", b"new\nline.eml", "Grüße~7:3.eml".as_bytes()];
    for name in names {
        fs::write(bench.folder.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    for name in bench.intake.list().unwrap() {
        let Take::Taken(file) =
            bench.intake.take(&name, Duration::ZERO, Heard::Nothing, SystemTime::now()).unwrap()
        else {
            panic!("{name:?}");
        };
        assert_eq!(file.original, name);
        assert_eq!(original_name(&file.name, "eml"), name);
    }
    assert_eq!(bench.intake.leftovers().unwrap().len(), 4);
}
