//! What Dormouse says of itself at `/metrics`. Other servers have no such page.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::clock;
use crate::http::{self, HttpConnection};
use crate::server::Target;

/// Objects in memory.
pub(crate) const OBJECTS_RESIDENT: &str = "dormouse_objects_resident";

/// Times that an object was brought into memory.
pub(crate) const WAKES: &str = "dormouse_object_wakes_total";

/// All objects must be asleep within this time.
const ASLEEP_MAX: Duration = Duration::from_secs(120);

/// Time between two looks at the metric.
const ASLEEP_POLL: Duration = Duration::from_millis(50);

/// Reads a metric, summed over its labels.
///
/// # Errors
///
/// The server did not answer, or has no such metric.
pub(crate) async fn read(target: Target, name: &str) -> Result<f64> {
    // Opened each time: servers close connections that are idle for seconds.
    let mut connection = HttpConnection::open(target.address).await?;
    read_on(&mut connection, target, name).await
}

/// Waits until no object is in memory.
///
/// # Errors
///
/// As [`read`], and objects that are awake after 120 s.
pub(crate) async fn until_all_sleep(target: Target) -> Result<()> {
    let started = clock::now();
    let mut connection = HttpConnection::open(target.address).await?;
    loop {
        let resident = read_on(&mut connection, target, OBJECTS_RESIDENT).await?;
        if resident == 0.0 {
            return Ok(());
        }
        ensure!(started.elapsed() < ASLEEP_MAX, "{resident} objects still awake after 120 s");
        tokio::time::sleep(ASLEEP_POLL).await;
    }
}

async fn read_on(connection: &mut HttpConnection, target: Target, name: &str) -> Result<f64> {
    let request = http::get_request(target.address, "/metrics");
    let answer = connection.exchange(&request).await?;
    let metrics = std::str::from_utf8(answer.success()?).context("/metrics is not UTF-8")?;
    sum(metrics, name).with_context(|| format!("no {name} in /metrics"))
}

/// Sums a metric over its labels; `None` if it is not there.
fn sum(metrics: &str, name: &str) -> Option<f64> {
    metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            // Otherwise it is another metric whose name begins with this one.
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        })
        .reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_confused_with_its_neighbours() {
        let metrics =
            "# HELP a x\n# TYPE a gauge\na{kind=\"note\"} 2\na{kind=\"c d\"} 3\na_max 9\n";

        assert_eq!(sum(metrics, "a"), Some(5.0));
        assert_eq!(sum(metrics, "a_max"), Some(9.0));
        assert_eq!(sum(metrics, "b"), None);
    }
}
