//! `vfio serve`, and the commands of `vfio` on what it serves.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A process that serves a model.
struct Serving {
    folder: TempDir,
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Serving {
    fn new(model: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vfio"))
            .args(["serve", model, "--socket"])
            .arg(folder.path().join("socket"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut this = Self {
            folder,
            lines: BufReader::new(child.stderr.take().unwrap()),
            child,
        };
        let served = this.line();
        assert!(
            served.starts_with(&format!("{model} is served at ")),
            "{served}"
        );
        this
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn device(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Returns what it says next.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// Ends it as Ctrl-C does.
    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(!self.socket().exists());
    }
}

fn vfio(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio"));
    command.args(arguments).output().unwrap()
}

fn record(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_whole_driver_passes_on_what_another_process_serves() {
    for (model, steps) in [("edu", 8), ("nvme", 16)] {
        let mut serving = Serving::new(model);
        let device = serving.device();
        for _ in 0..2 {
            let record = record(&vfio(&["run", model, &device, "--json"]));
            assert_eq!(record["passed"], true, "{record}");
            assert_eq!(record["mode"], "vfio-user");
            assert_eq!(record["steps"].as_array().unwrap().len(), steps);
            let gone = serving.line();
            assert!(gone.ends_with("it has left\n"), "{gone}");
        }
        serving.stop();
    }
}

#[test]
fn registers_are_read_and_written() {
    let serving = Serving::new("edu");
    let device = serving.device();
    let read = vfio(&["read", &device, "bar0", "0"]);
    assert_eq!(read.status.code(), Some(0), "{read:?}");
    assert!(
        String::from_utf8_lossy(&read.stdout).contains("0x010000ed"),
        "{read:?}"
    );
    let inspected = record(&vfio(&["inspect", &device, "--json"]));
    assert_eq!(inspected["mode"], "vfio-user", "{inspected}");
    serving.stop();
}

#[test]
fn a_socket_that_nobody_serves_is_told_and_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let device = format!("unix:{}", socket.display());
    let output = vfio(&["run", "edu", &device]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("connection refused"), "{text}");
    let missing = vfio(&["run", "edu", "unix:/nowhere/socket"]);
    assert_eq!(missing.status.code(), Some(1));

    let serving = Serving::new("edu");
    let path = serving.socket();
    let second = vfio(&["serve", "edu", "--socket", path.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("another server has the socket"), "{text}");
    serving.stop();
}
