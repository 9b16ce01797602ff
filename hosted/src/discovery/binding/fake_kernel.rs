//! What the kernel does when attributes of a made-up tree are written.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use vfio_conformance::fake_tree::FakeTree;

/// The PCI bus, for one device.
pub(super) struct FakeKernel<'t> {
    pub(super) tree: &'t FakeTree,
    address: &'static str,
    /// The driver that matches the device without an override; none where it is empty.
    natural: &'static str,
    /// A driver whose probe fails.
    refusing: RefCell<&'static str>,
    /// The writes that fail, counted from the moment at which that was said.
    failing: RefCell<Range<usize>>,
    /// The writes that do not end, counted in the same way.
    waiting: RefCell<Range<usize>>,
    count: Cell<usize>,
}

impl<'t> FakeKernel<'t> {
    pub(super) fn new(tree: &'t FakeTree, address: &'static str, natural: &'static str) -> Self {
        let this = Self {
            tree,
            address,
            natural,
            refusing: RefCell::new(""),
            failing: RefCell::new(0..0),
            waiting: RefCell::new(0..0),
            count: Cell::new(0),
        };
        if !tree.root().join(this.attribute("driver_override")).exists() {
            tree.write(&this.attribute("driver_override"), "(null)\n");
        }
        this
    }

    pub(super) fn fail_at(&self, writes: Range<usize>) {
        self.count.set(0);
        self.failing.replace(writes);
    }

    pub(super) fn wait_at(&self, writes: Range<usize>) {
        self.count.set(0);
        self.waiting.replace(writes);
    }

    pub(super) fn refuse(&self, driver: &'static str) {
        self.refusing.replace(driver);
    }

    pub(super) fn writes(&self) -> usize {
        self.count.get()
    }

    pub(super) fn driver_override(&self) -> String {
        let path = self.tree.root().join(self.attribute("driver_override"));
        fs::read_to_string(path).unwrap().trim_end().to_owned()
    }

    /// Does what the kernel does when `value` is written to `path`.
    pub(super) fn write(&self, path: &Path, value: &str) -> io::Result<()> {
        let count = self.count.get();
        self.count.set(count + 1);
        if self.failing.borrow().contains(&count) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.waiting.borrow().contains(&count) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let path = path.strip_prefix(self.tree.root()).unwrap();
        match path.to_str().unwrap().rsplit_once('/').unwrap() {
            (_, "driver_override") => {
                let name = match value {
                    "\n" => "(null)",
                    name => name,
                };
                self.tree
                    .write(&self.attribute("driver_override"), format!("{name}\n"));
                return Ok(());
            }
            (_, "unbind") if self.has_driver() => self.tree.remove(&self.attribute("driver")),
            ("sys/bus/pci", "drivers_probe") => {
                let chosen = match self.driver_override().as_str() {
                    "(null)" => self.natural.to_owned(),
                    name => name.to_owned(),
                };
                self.probe(&chosen);
            }
            (driver, "bind") => {
                let driver = driver.rsplit('/').next().unwrap();
                let name = self.driver_override();
                assert!(
                    name == "(null)" || name == driver,
                    "the override forbids it"
                );
                self.probe(driver);
            }
            (_, file) => panic!("nobody writes {file} of {}", path.display()),
        }
        assert_eq!(value, self.address);
        Ok(())
    }

    fn probe(&self, driver: &str) {
        let is_loaded = self
            .tree
            .root()
            .join("sys/bus/pci/drivers")
            .join(driver)
            .is_dir();
        if !driver.is_empty()
            && is_loaded
            && !self.has_driver()
            && *self.refusing.borrow() != driver
        {
            self.tree.bind(self.address, driver);
        }
    }

    fn has_driver(&self) -> bool {
        self.tree.root().join(self.attribute("driver")).is_symlink()
    }

    fn attribute(&self, name: &str) -> String {
        format!("sys/devices/pci/{}/{name}", self.address)
    }
}
