//! The ways between the states.

use vfio_core::sys::Errno;
use vfio_core::wire::abi::{MigState, MigrationFlags};

/// Returns the next state on the way from `from` to `to` that a device has.
pub(super) fn next(flags: MigrationFlags, from: MigState, to: MigState) -> Result<MigState, Errno> {
    if !has(flags, to) {
        return Err(Errno::EINVAL);
    }
    let mut at = step(from, to);
    while at != MigState::ERROR && !has(flags, at) {
        at = step(at, to);
    }
    if at == MigState::ERROR {
        Err(Errno::EINVAL)
    } else {
        Ok(at)
    }
}

/// Tells whether a device has a state.
fn has(flags: MigrationFlags, state: MigState) -> bool {
    let needed = match state {
        MigState::STOP | MigState::RUNNING | MigState::STOP_COPY | MigState::RESUMING => {
            MigrationFlags::STOP_COPY
        }
        MigState::PRE_COPY => MigrationFlags::STOP_COPY | MigrationFlags::PRE_COPY,
        MigState::RUNNING_P2P => MigrationFlags::STOP_COPY | MigrationFlags::P2P,
        MigState::PRE_COPY_P2P => {
            MigrationFlags::STOP_COPY | MigrationFlags::P2P | MigrationFlags::PRE_COPY
        }
        _ => return false,
    };
    flags.contains(needed)
}

/// Returns the first step from one state to another, of a device that has all of them.
fn step(from: MigState, to: MigState) -> MigState {
    match (from, to) {
        (MigState::ERROR, _) | (_, MigState::ERROR) => MigState::ERROR,
        (MigState::STOP, MigState::STOP_COPY | MigState::RESUMING)
        | (MigState::RUNNING, MigState::PRE_COPY)
        | (MigState::PRE_COPY_P2P, MigState::PRE_COPY | MigState::STOP_COPY)
        | (MigState::RUNNING_P2P, MigState::PRE_COPY_P2P) => to,
        (MigState::STOP | MigState::RUNNING | MigState::PRE_COPY_P2P, _) => MigState::RUNNING_P2P,
        (MigState::PRE_COPY, MigState::PRE_COPY_P2P | MigState::STOP_COPY) => {
            MigState::PRE_COPY_P2P
        }
        (MigState::PRE_COPY, _)
        | (MigState::RUNNING_P2P, MigState::RUNNING | MigState::PRE_COPY) => MigState::RUNNING,
        (MigState::STOP_COPY, MigState::PRE_COPY | MigState::PRE_COPY_P2P) => MigState::ERROR,
        (MigState::STOP_COPY | MigState::RESUMING | MigState::RUNNING_P2P, _) => MigState::STOP,
        _ => MigState::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    const P2P: MigrationFlags = MigrationFlags::STOP_COPY.union(MigrationFlags::P2P);
    const ALL: MigrationFlags = P2P.union(MigrationFlags::PRE_COPY);

    fn way(flags: MigrationFlags, from: MigState, to: MigState) -> Result<Vec<MigState>, Errno> {
        let mut way = vec![];
        let mut at = from;
        while at != to {
            at = next(flags, at, to)?;
            way.push(at);
        }
        Ok(way)
    }

    #[test]
    fn states_that_a_device_has_not_are_passed_over() {
        use MigState as S;
        let to_stop = |flags| way(flags, S::RUNNING, S::STOP);
        assert_eq!(to_stop(ALL), Ok(vec![S::RUNNING_P2P, S::STOP]));
        assert_eq!(to_stop(MigrationFlags::STOP_COPY), Ok(vec![S::STOP]));
        let go_on = |flags| way(flags, S::PRE_COPY, S::STOP_COPY);
        assert_eq!(go_on(ALL), Ok(vec![S::PRE_COPY_P2P, S::STOP_COPY]));
        let without_p2p = MigrationFlags::STOP_COPY | MigrationFlags::PRE_COPY;
        assert_eq!(go_on(without_p2p), Ok(vec![S::STOP_COPY]));
        assert_eq!(
            way(ALL, S::RUNNING, S::RESUMING),
            Ok(vec![S::RUNNING_P2P, S::STOP, S::RESUMING])
        );
    }

    #[test]
    fn there_is_no_way_where_data_would_be_lost_or_a_state_is_missing() {
        use MigState as S;
        assert_eq!(way(ALL, S::STOP_COPY, S::PRE_COPY), Err(Errno::EINVAL));
        assert_eq!(way(P2P, S::RUNNING, S::PRE_COPY), Err(Errno::EINVAL));
        assert_eq!(way(ALL, S::RUNNING, S::ERROR), Err(Errno::EINVAL));
        assert_eq!(way(ALL, S::RUNNING, MigState(99)), Err(Errno::EINVAL));
    }

    #[test]
    fn every_way_comes_to_an_end() {
        let states = || (1..MigState::NR).map(MigState);
        for flags in [MigrationFlags::STOP_COPY, P2P, ALL] {
            for from in states().filter(|from| has(flags, *from)) {
                for to in states().filter(|to| has(flags, *to)) {
                    if let Ok(way) = way(flags, from, to) {
                        assert!(way.len() < 6, "{from} to {to}: {way:?}");
                    }
                }
            }
        }
    }
}
