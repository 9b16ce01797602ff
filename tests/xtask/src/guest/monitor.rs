//! QEMU's monitor, and what a guest asks its host for.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use vfio_guest::Line;

/// The longest that QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The monitor of a QEMU that has it at its standard input and output.
pub(crate) struct Monitor {
    commands: ChildStdin,
    replies: Receiver<Value>,
    is_ready: bool,
    /// How many bytes of the guest's results were read.
    read: u64,
}

impl Monitor {
    /// Creates the monitor of a process that was just started.
    ///
    /// # Errors
    ///
    /// Its standard input and output are no pipes.
    pub(crate) fn of(qemu: &mut Child) -> Result<Self> {
        let commands = qemu.stdin.take().context("QEMU has no stdin")?;
        let output = qemu.stdout.take().context("QEMU has no stdout")?;
        let (sender, replies) = mpsc::channel();
        // It ends with QEMU.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(reply) = serde_json::from_str(&line)
                    && sender.send(reply).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self {
            commands,
            replies,
            is_ready: false,
            read: 0,
        })
    }

    /// Does what the guest has asked for in its `results` since they were last looked at.
    ///
    /// # Errors
    ///
    /// The results cannot be read, or QEMU refuses.
    pub(crate) fn follow(&mut self, results: &Path) -> Result<()> {
        let mut file = File::open(results)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // A line that is not whole yet is read again.
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let whole = bytes.get(..=end).unwrap_or_default();
        self.read += u64::try_from(whole.len())?;
        for line in String::from_utf8_lossy(whole).lines() {
            if let Ok(Line::Ask { unplug }) = serde_json::from_str(line.trim()) {
                self.execute("device_del", &json!({ "id": unplug }))
                    .with_context(|| format!("cannot unplug {unplug}"))?;
            }
        }
        Ok(())
    }

    /// Executes a command of QMP.
    fn execute(&mut self, command: &str, arguments: &Value) -> Result<()> {
        if !self.is_ready {
            self.is_ready = true;
            self.execute("qmp_capabilities", &json!({}))?;
        }
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.commands, "{request}").context("QEMU does not listen")?;
        loop {
            let reply = self.replies.recv_timeout(PATIENCE);
            let reply = reply.context("QEMU does not answer")?;
            if let Some(error) = reply.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            // The greeting and events have no such field.
            if reply.get("return").is_some() {
                return Ok(());
            }
        }
    }
}
