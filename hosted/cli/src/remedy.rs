//! How an obstacle is mended with this program at hand.

use vfio_hosted::discovery::{Obstacle, Remedy};

/// Returns the remedy. What has to be bound is bound by `vfio bind`, which refuses what the system uses.
pub(crate) fn of(obstacle: &Obstacle) -> Remedy {
    let devices = obstacle.devices_to_bind();
    if devices.is_empty() {
        return obstacle.remedy();
    }
    let addresses: Vec<_> = devices.iter().map(ToString::to_string).collect();
    Remedy {
        advice: None,
        commands: vec![format!("sudo vfio bind {}", addresses.join(" "))],
    }
}
