//! Settings of a node.

use std::time::Duration;

/// How many lanes, how many objects, how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Threads that run handlers. At least 1.
    pub lanes: usize,
    /// An object that nobody used for so long hibernates.
    pub idle_timeout: Duration,
    /// Most objects in memory at once; past it the longest idle one leaves.
    pub objects_resident_max: usize,
    /// Most calls, connects and refills that wait for one object; past it they are answered
    /// SERVICE_UNAVAILABLE.
    pub queue_envelopes_max: usize,
    /// Most bytes of outcomes that wait for the journal on one lane; past it the lane takes no
    /// more input until some were released.
    pub gate_bytes_max: usize,
    /// How long somebody whose last socket was lost still counts as present.
    pub presence_grace: Duration,
    /// Most people of one object that others are told of by name.
    pub presence_users_max: usize,
    /// How long a call waits for a free place when all resident objects are busy.
    pub wake_wait_max: Duration,
}

impl NodeConfig {
    /// The settings of a server that was told nothing, on a machine with so many cores.
    pub fn for_cores(cores: usize) -> NodeConfig {
        NodeConfig {
            lanes: cores.max(1),
            idle_timeout: Duration::from_secs(10),
            objects_resident_max: 4096,
            queue_envelopes_max: 16_384,
            gate_bytes_max: 32 << 20,
            presence_grace: Duration::from_secs(5),
            presence_users_max: 250,
            wake_wait_max: Duration::from_secs(5),
        }
    }
}
