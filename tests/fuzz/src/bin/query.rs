//! Questions to a kernel whose replies change between calls.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use vfio_core::device::Device;
use vfio_core::open::AddressSpace;
use vfio_core::open::container::{Container, OpenError};
use vfio_core::query::{self, MAX_CALLS, QueryError, ReplyBuffer, Staged};
use vfio_core::sys::{Errno, InfoRequest};
use vfio_core::wire::abi::{self, Extension, GroupFlags};
use vfio_core::wire::info::{
    DeviceInfo, HotResetInfo, InfoError, IommuInfo, IrqInfo, Malformed, RegionInfo,
};
use vfio_fuzz::kernel::{Call, Kernel, Script};
use vfio_fuzz::reader;
use vfio_hosted::report;

fuzz_target!(|input: &[u8]| {
    let Some(script) = Script::new(input) else {
        return;
    };
    let kernel = Kernel::new(script);
    match script.question % 7 {
        5 => open(&kernel, &script),
        6 => inspect(&kernel, &script),
        _ => question(&kernel, &script),
    }
    assert_eq!(kernel.open_files(), 0, "files stay open");
});

/// The index that regions and interrupts are asked about with.
const INDEX: u32 = 2;

/// What stands around a buffer.
const GUARD: [u8; 32] = [0xee; 32];

/// A buffer that grows again and again, each time into memory with something else in it.
struct Rooms {
    now: Vec<u8>,
    limit: usize,
}

impl ReplyBuffer for Rooms {
    const GROWS: bool = true;

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.now
    }

    fn grow(&mut self, needed: u64) -> bool {
        let Ok(len) = usize::try_from(needed) else {
            return false;
        };
        let has_room = len > self.now.len() && len <= self.limit;
        if has_room {
            self.now = vec![0x5a; len];
        }
        has_room
    }
}

/// A question of [`query`].
trait Question {
    /// The fixed structure.
    type Head: Debug + PartialEq;
    /// The answer.
    type Info<'a>: Debug + PartialEq;
    /// The ioctl.
    const REQUEST: InfoRequest;

    fn ask<'b, B: ReplyBuffer + ?Sized>(
        kernel: &Kernel<'_>,
        buffer: &'b mut B,
    ) -> Result<Self::Info<'b>, QueryError<Self::Head>>;

    fn decode(reply: &[u8]) -> Result<Self::Info<'_>, InfoError<Self::Head>>;

    /// Returns the index in an answer that has one.
    fn index(_: &Self::Info<'_>) -> Option<u32> {
        None
    }
}

struct OfDevice;

impl Question for OfDevice {
    type Head = abi::DeviceInfo;
    type Info<'a> = DeviceInfo<'a>;
    const REQUEST: InfoRequest = InfoRequest::Device;

    fn ask<'b, B: ReplyBuffer + ?Sized>(
        kernel: &Kernel<'_>,
        buffer: &'b mut B,
    ) -> Result<DeviceInfo<'b>, QueryError<abi::DeviceInfo>> {
        query::device(kernel, &kernel.file(), buffer)
    }

    fn decode(reply: &[u8]) -> Result<DeviceInfo<'_>, InfoError<abi::DeviceInfo>> {
        DeviceInfo::decode(reply)
    }
}

struct OfRegion;

impl Question for OfRegion {
    type Head = abi::RegionInfo;
    type Info<'a> = RegionInfo<'a>;
    const REQUEST: InfoRequest = InfoRequest::Region;

    fn ask<'b, B: ReplyBuffer + ?Sized>(
        kernel: &Kernel<'_>,
        buffer: &'b mut B,
    ) -> Result<RegionInfo<'b>, QueryError<abi::RegionInfo>> {
        query::region(kernel, &kernel.file(), INDEX, buffer)
    }

    fn decode(reply: &[u8]) -> Result<RegionInfo<'_>, InfoError<abi::RegionInfo>> {
        RegionInfo::decode(reply)
    }

    fn index(info: &RegionInfo<'_>) -> Option<u32> {
        Some(info.index)
    }
}

struct OfIrq;

impl Question for OfIrq {
    type Head = abi::IrqInfo;
    type Info<'a> = IrqInfo;
    const REQUEST: InfoRequest = InfoRequest::Irq;

    fn ask<B: ReplyBuffer + ?Sized>(
        kernel: &Kernel<'_>,
        _: &mut B,
    ) -> Result<IrqInfo, QueryError<abi::IrqInfo>> {
        query::irq(kernel, &kernel.file(), INDEX)
    }

    fn decode(reply: &[u8]) -> Result<IrqInfo, InfoError<abi::IrqInfo>> {
        IrqInfo::decode(reply)
    }

    fn index(info: &IrqInfo) -> Option<u32> {
        Some(info.index)
    }
}

struct OfIommu;

impl Question for OfIommu {
    type Head = abi::IommuType1Info;
    type Info<'a> = IommuInfo<'a>;
    const REQUEST: InfoRequest = InfoRequest::Iommu;

    fn ask<'b, B: ReplyBuffer + ?Sized>(
        kernel: &Kernel<'_>,
        buffer: &'b mut B,
    ) -> Result<IommuInfo<'b>, QueryError<abi::IommuType1Info>> {
        query::iommu(kernel, &kernel.file(), buffer)
    }

    fn decode(reply: &[u8]) -> Result<IommuInfo<'_>, InfoError<abi::IommuType1Info>> {
        IommuInfo::decode(reply)
    }
}

struct OfHotReset;

impl Question for OfHotReset {
    type Head = abi::PciHotResetInfo;
    type Info<'a> = HotResetInfo<'a>;
    const REQUEST: InfoRequest = InfoRequest::PciHotReset;

    fn ask<'b, B: ReplyBuffer + ?Sized>(
        kernel: &Kernel<'_>,
        buffer: &'b mut B,
    ) -> Result<HotResetInfo<'b>, QueryError<abi::PciHotResetInfo>> {
        query::hot_reset(kernel, &kernel.file(), buffer)
    }

    fn decode(reply: &[u8]) -> Result<HotResetInfo<'_>, InfoError<abi::PciHotResetInfo>> {
        HotResetInfo::decode(reply)
    }
}

/// Asks one question, with a buffer of one of four kinds.
fn question(kernel: &Kernel<'_>, script: &Script<'_>) {
    let [len, second] = script.lens;
    match script.buffer % 4 {
        0 => {
            let mut memory = [&GUARD[..], &vec![0xa5; len], &GUARD[..]].concat();
            any_question(kernel, script, &mut memory[32..32 + len]);
            assert_eq!(memory[..32], GUARD);
            assert_eq!(memory[32 + len..], GUARD);
        }
        1 => any_question(kernel, script, &mut vec![0xa5; len]),
        2 => {
            let (mut small, mut large) = (vec![0xa5; len], vec![0x5a; second]);
            let mut buffer = Staged::new(&mut small, &mut large);
            any_question(kernel, script, &mut buffer);
        }
        _ => {
            let now = vec![0xa5; len];
            let limit = 1 << 16;
            any_question(kernel, script, &mut Rooms { now, limit });
        }
    }
}

/// Asks the question that the script names.
fn any_question<B: ReplyBuffer + ?Sized>(kernel: &Kernel<'_>, script: &Script<'_>, buffer: &mut B) {
    match script.question % 7 {
        0 => ask::<OfDevice, B>(kernel, buffer),
        1 => ask::<OfRegion, B>(kernel, buffer),
        2 => ask::<OfIrq, B>(kernel, buffer),
        3 => ask::<OfIommu, B>(kernel, buffer),
        _ => ask::<OfHotReset, B>(kernel, buffer),
    }
}

/// Asks, and checks the answer.
fn ask<Q: Question, B: ReplyBuffer + ?Sized>(kernel: &Kernel<'_>, buffer: &mut B) {
    let (len, limit) = match Q::REQUEST {
        // It brings its own buffer.
        InfoRequest::Irq => (16, 1),
        _ if B::GROWS => (buffer.bytes().len(), MAX_CALLS),
        _ => (buffer.bytes().len(), 1),
    };
    let answer = Q::ask(kernel, buffer);
    check::<Q>(answer, &kernel.take_record(), len, limit);
}

/// Checks the calls that were made with a buffer of `len` bytes at first, `limit` at most. Checks
/// the answer that came of the last, too.
fn check<'a, Q: Question>(
    answer: Result<Q::Info<'a>, QueryError<Q::Head>>,
    record: &'a [Call],
    len: usize,
    limit: u32,
) {
    let head = size_of::<Q::Head>();
    let Some(last) = record.last() else {
        assert!(len < head, "nothing was asked");
        let truncated = Malformed::Truncated {
            len: u32::try_from(len).unwrap(),
            min: u32::try_from(head).unwrap(),
        };
        assert_eq!(answer, Err(QueryError::Malformed(truncated)));
        return;
    };
    assert!(record.len() <= usize::try_from(limit).unwrap());
    assert_eq!(record[0].asked.len(), len, "not the whole buffer");
    for pair in record.windows(2) {
        let [before, after] = pair else { continue };
        assert!(matches!(before.end, Ok(()) | Err(Errno::ENOSPC)));
        let Err(InfoError::TooSmall { needed, .. }) = Q::decode(&before.reply) else {
            panic!("asked again without a need: {before:?}");
        };
        let room = after.asked.len();
        assert!(room > before.asked.len() && u64::try_from(room).unwrap() >= needed);
    }
    for call in record {
        assert_eq!(call.request, Q::REQUEST);
        check_asked(call, head);
    }
    assert_eq!(answer, expected::<Q>(last), "not what the last reply says");
}

/// Returns the meaning of a call's reply.
fn expected<Q: Question>(call: &Call) -> Result<Q::Info<'_>, QueryError<Q::Head>> {
    match call.end {
        Ok(()) => {
            let info = Q::decode(&call.reply)?;
            match Q::index(&info) {
                Some(got) if got != INDEX => {
                    let asked = INDEX;
                    Err(QueryError::Malformed(Malformed::WrongIndex { asked, got }))
                }
                _ => Ok(info),
            }
        }
        // How long the list is was filled in.
        Err(Errno::ENOSPC) if Q::REQUEST == InfoRequest::PciHotReset => {
            Q::decode(&call.reply)?;
            Err(Errno::ENOSPC.into())
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Checks that a call came with argsz, the index, and zeros.
fn check_asked(call: &Call, head: usize) {
    let mut expected = vec![0; head];
    let argsz = u32::try_from(call.asked.len()).unwrap();
    expected[..4].copy_from_slice(&argsz.to_ne_bytes());
    if matches!(call.request, InfoRequest::Region | InfoRequest::Irq) {
        expected[8..12].copy_from_slice(&INDEX.to_ne_bytes());
    }
    assert_eq!(call.asked[..head], expected);
}

/// Opens a device through a container and a group.
fn open(kernel: &Kernel<'_>, script: &Script<'_>) {
    let group = u32::try_from(script.lens[0]).unwrap() << (script.lens[1] % 20);
    if let Err(error) = open_device(kernel, group) {
        assert!(!error.to_string().is_empty());
    }
}

fn open_device(kernel: &Kernel<'_>, group: u32) -> Result<(), OpenError> {
    let container = Container::open(kernel)?;
    let attached = container.attach(group);
    let record = kernel.take_record();
    let [status] = &record[..] else {
        assert!(record.is_empty() && attached.is_err());
        return attached.map(drop);
    };
    let flags = u32::from_ne_bytes(status.reply[4..8].try_into().unwrap());
    let is_viable = GroupFlags::from_bits_retain(flags).contains(GroupFlags::VIABLE);
    match attached {
        Ok(_) | Err(OpenError::Attach { .. }) => assert!(is_viable && status.end.is_ok()),
        Err(OpenError::NotViable { .. }) => assert!(!is_viable && status.end.is_ok()),
        Err(_) => assert!(status.end.is_err()),
    }
    let attached = attached?;
    container.set_iommu(Extension::TYPE1V2_IOMMU)?;
    let device = attached.device(c"0000:00:05.0")?;
    // Whatever comes of these: they are checked as questions.
    let _ = container.iommu_info(&mut [0; 256]);
    let _ = device.info(&mut [0; 64]);
    Ok(())
}

/// Asks everything that a program asks about a device that it inspects.
fn inspect(kernel: &Kernel<'_>, script: &Script<'_>) {
    let Ok(container) = Container::open(kernel) else {
        return;
    };
    let space = AddressSpace::Container(container);
    let device = Device::new(kernel, kernel.file());
    let page = 1 << (script.buffer % 64);
    let inspection = report::inspect(&device, &space, page);
    for list in [inspection.regions.len(), inspection.irqs.len()] {
        assert!(list <= 1024, "{list} indexes");
    }
    reader::check_json(&inspection);
}
