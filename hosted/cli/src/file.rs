//! Files that the user names, to be read and to be written. `-` is standard input and standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::event::PollFlags;

use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Bytes that a pipe takes without waiting once it says that it takes any (PIPE_BUF of Linux).
const PIPE_BUF: usize = 4096;

/// Tells whether a path means standard input or standard output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// What is read.
pub(crate) struct Input {
    path: PathBuf,
    file: File,
    size: Option<u64>,
}

impl Input {
    /// Opens it.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let open = || {
            let mut file = if is_standard(path) {
                File::from(io::stdin().as_fd().try_clone_to_owned()?)
            } else {
                File::open(path)?
            };
            let size = size(&mut file)?;
            Ok((file, size))
        };
        let (file, size) = open().map_err(|source| unreadable(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
        })
    }

    /// Returns how many bytes there are to be read, where that is known before: of a file or a block
    /// device.
    pub(crate) const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all of it.
    pub(crate) fn whole(mut self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        match self.file.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(unreadable(&self.path, source)),
        }
    }

    /// Reads until `bytes` are full or the input ends, and returns how many were read; none where the user asks to end.
    pub(crate) fn fill(
        &mut self,
        bytes: &mut [u8],
        interrupt: &Interrupt,
    ) -> Result<Option<usize>, Failure> {
        let mut len = 0;
        while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
            let read = match interrupt.ready(&self.file, PollFlags::IN) {
                Ok(true) => self.file.read(rest),
                Ok(false) => return Ok(None),
                Err(error) => Err(error),
            };
            match read {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if is_passing(&error) => (),
                Err(source) => return Err(unreadable(&self.path, source)),
            }
        }
        Ok(Some(len))
    }
}

fn unreadable(path: &Path, source: io::Error) -> Failure {
    Failure::Input {
        path: path.to_owned(),
        source,
    }
}

/// Tells whether to try again: a signal came, or somebody else was faster with what could be read or
/// written.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Bytes from where a file is read to its end. Those that the kernel makes up say 0, or less or more than they have.
fn size(file: &mut File) -> io::Result<Option<u64>> {
    let data = file.metadata()?;
    if data.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if data.is_file() && data.len() > 0 {
        let at = file.stream_position()?;
        return Ok(Some(data.len().saturating_sub(at)));
    }
    if data.file_type().is_block_device() {
        let at = file.stream_position()?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(at))?;
        return Ok(Some(end.saturating_sub(at)));
    }
    Ok(None)
}

/// What is written: opened before the work whose result it is to take, and as it was until there is a result.
pub(crate) struct Output {
    path: PathBuf,
    file: File,
    /// What is in it is lost when something is written.
    replaces: bool,
    /// Writing may have to wait for who reads it: it is a pipe, a socket, or a terminal.
    waits: bool,
    /// It was not there before.
    is_new: bool,
    written: u64,
}

impl Output {
    /// Opens it, without a change to what is in it.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let open = || {
            let (file, is_new) = if is_standard(path) {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                (file, false)
            } else {
                created(path)?
            };
            let kind = file.metadata()?.file_type();
            Ok((file, kind, is_new))
        };
        let (file, kind, is_new) = open().map_err(|source| unwritable(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            replaces: kind.is_file() && !is_standard(path),
            waits: !kind.is_file() && !kind.is_block_device(),
            is_new,
            written: 0,
        })
    }

    /// Returns how many bytes were written.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes all of `bytes`.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            bytes = self.some(bytes)?;
        }
        Ok(())
    }

    /// Writes a text; on standard output its last line ends.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())?;
        if is_standard(&self.path) {
            self.write(b"\n")?;
        }
        Ok(())
    }

    /// Writes `bytes` until the user asks to end; whether all were written.
    pub(crate) fn write_until(
        &mut self,
        mut bytes: &[u8],
        interrupt: &Interrupt,
    ) -> Result<bool, Failure> {
        while !bytes.is_empty() {
            let part = if interrupt.is_asked() {
                return Ok(false);
            } else if !self.waits {
                bytes
            } else {
                match interrupt.ready(&self.file, PollFlags::OUT) {
                    Ok(true) => bytes.get(..PIPE_BUF).unwrap_or(bytes),
                    Ok(false) => return Ok(false),
                    Err(source) => return Err(unwritable(&self.path, source)),
                }
            };
            let done = part.len() - self.some(part)?.len();
            bytes = bytes.get(done..).unwrap_or_default();
        }
        Ok(true)
    }

    /// Writes some of `bytes`, and returns the rest.
    fn some<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Failure> {
        let written = if self.replaces && self.written == 0 {
            self.file.set_len(0).and_then(|()| self.file.write(bytes))
        } else {
            self.file.write(bytes)
        };
        match written {
            Ok(0) => Err(unwritable(&self.path, io::ErrorKind::WriteZero.into())),
            Ok(len) => {
                self.written += u64::try_from(len).unwrap_or(u64::MAX);
                Ok(bytes.get(len..).unwrap_or_default())
            }
            Err(error) if is_passing(&error) => Ok(bytes),
            Err(source) => Err(unwritable(&self.path, source)),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_new && self.written == 0 {
            // It is empty, and nobody had it before.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a file to be written, and whether it is new.
fn created(path: &Path) -> io::Result<(File, bool)> {
    match File::create_new(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // It may be a link to a file that is not there yet.
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).open(path);
            Ok((file?, false))
        }
        Err(error) => Err(error),
    }
}

fn unwritable(path: &Path, source: io::Error) -> Failure {
    if is_standard(path) {
        return Failure::Output(source);
    }
    Failure::Unwritable {
        path: path.to_owned(),
        source,
    }
}
