//! `/metrics` in the text format of Prometheus.
//!
//! Every number is read from where it is counted at the moment somebody asks. Labels are closed
//! sets: never a kind's object, a connection or a user.

use dormouse_store::{Histogram, StoreStats};
use prometheus::proto::{
    self, Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder as _, TextEncoder};

use crate::http::FrontDoor;

const NS_PER_SECOND: f64 = 1e9;

/// Everything there is to measure, as text.
///
/// # Errors
///
/// A metric without a name or a value; a mistake in this file.
pub(crate) fn render(door: &FrontDoor) -> Result<Vec<u8>, prometheus::Error> {
    let mut families = Vec::new();
    node(door, &mut families);
    hubs(door, &mut families);
    store(&door.node.store().stats(), &mut families);
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(text)
}

fn node(door: &FrontDoor, families: &mut Vec<MetricFamily>) {
    let stats = door.node.stats();
    families.extend([
        gauge("dormouse_objects_resident", "Objects in memory.", stats.objects_resident()),
        gauge("dormouse_sessions", "Sockets that belong to an object.", stats.sessions()),
        counter("dormouse_object_wakes_total", "Objects made resident.", stats.wakes_total()),
        counter(
            "dormouse_object_wake_failures_total",
            "Objects that could not be opened.",
            stats.wake_failures_total(),
        ),
        counter(
            "dormouse_hibernations_total",
            "Objects that left memory.",
            stats.hibernations_total(),
        ),
        counter("dormouse_handlers_total", "Handlers run.", stats.handlers_total()),
        counter(
            "dormouse_handler_faults_total",
            "Handlers that panicked or failed on the server's side.",
            stats.handler_faults_total(),
        ),
        counter(
            "dormouse_queue_refusals_total",
            "Inputs refused because a queue was full or the server stopped.",
            stats.queue_refusals_total(),
        ),
        counter("dormouse_alarms_total", "Alarms whose handlers succeeded.", stats.alarms_total()),
        counter(
            "dormouse_parcels_total",
            "Runs of messages between two objects that their receivers have answered.",
            stats.parcels_total(),
        ),
        counter("dormouse_jobs_total", "Jobs of objects that have ended.", stats.jobs_total()),
        counter(
            "dormouse_events_total",
            "Events released to sockets, once each.",
            stats.events_total(),
        ),
    ]);
}

fn hubs(door: &FrontDoor, families: &mut Vec<MetricFamily>) {
    let hubs: Vec<_> = door.node.hubs().iter().map(|hub| hub.stats().read()).collect();
    let sum = |read: fn(&dormouse_socket::HubCounters) -> u64| hubs.iter().map(read).sum::<u64>();
    let closed = [
        ("peer", sum(|hub| hub.closed_peer)),
        ("lost", sum(|hub| hub.closed_lost)),
        ("unresponsive", sum(|hub| hub.closed_unresponsive)),
        ("protocol", sum(|hub| hub.closed_protocol)),
        ("too_slow", sum(|hub| hub.closed_too_slow)),
        ("message_rate", sum(|hub| hub.closed_message_rate)),
        ("byte_rate", sum(|hub| hub.closed_byte_rate)),
        ("owner", sum(|hub| hub.closed_owner)),
        ("drained", sum(|hub| hub.closed_drained)),
    ];
    let closed = closed.into_iter().map(|(cause, n)| counter_metric(n, &[("cause", cause)]));
    let refused =
        door.admission.refused().map(|(reason, n)| counter_metric(n, &[("reason", reason)]));
    let fetches = door.auth.refreshes().counts();
    let denied = door.auth.refused().map(|(reason, n)| counter_metric(n, &[("reason", reason)]));
    families.extend([
        family(
            "dormouse_auth_refused_total",
            "Requests refused for want of a token, of a valid one or of a permission, by reason.",
            MetricType::COUNTER,
            denied.collect(),
        ),
        family(
            "dormouse_jwks_fetches_total",
            "Fetches of sets of keys, by result.",
            MetricType::COUNTER,
            fetches.map(|(result, n)| counter_metric(n, &[("result", result)])).to_vec(),
        ),
        gauge("dormouse_sockets_open", "Open sockets.", sum(|hub| hub.sockets_open)),
        counter(
            "dormouse_sockets_opened_total",
            "Sockets accepted.",
            sum(|hub| hub.sockets_opened),
        ),
        family(
            "dormouse_sockets_closed_total",
            "Sockets closed, by cause.",
            MetricType::COUNTER,
            closed.collect(),
        ),
        family(
            "dormouse_sockets_refused_total",
            "Sockets that were not opened, by reason.",
            MetricType::COUNTER,
            refused.collect(),
        ),
        counter(
            "dormouse_socket_messages_received_total",
            "Messages received.",
            sum(|hub| hub.messages_in),
        ),
        counter("dormouse_socket_bytes_received_total", "Bytes received.", sum(|hub| hub.bytes_in)),
        counter(
            "dormouse_socket_frames_sent_total",
            "Frames given to sockets.",
            sum(|hub| hub.frames_out),
        ),
        counter("dormouse_socket_bytes_sent_total", "Bytes written.", sum(|hub| hub.bytes_out)),
        counter(
            "dormouse_socket_short_writes_total",
            "Writes that had to be queued in part.",
            sum(|hub| hub.short_writes),
        ),
        counter(
            "dormouse_socket_refills_total",
            "Times a socket was behind and was refilled.",
            sum(|hub| hub.refills),
        ),
        counter(
            "dormouse_hub_skips_total",
            "Publishes left out because a hub lagged; its sockets were refilled.",
            sum(|hub| hub.inbox_skips),
        ),
        gauge(
            "dormouse_socket_queue_bytes",
            "Bytes that wait for sockets.",
            sum(|hub| hub.queue_bytes),
        ),
    ]);
}

fn store(stats: &StoreStats, families: &mut Vec<MetricFamily>) {
    families.extend([
        counter(
            "dormouse_journal_appended_position",
            "Newest position appended to the journal.",
            stats.appended.get(),
        ),
        counter(
            "dormouse_journal_durable_position",
            "Newest durable position.",
            stats.durable.get(),
        ),
        counter(
            "dormouse_journal_checkpointed_position",
            "Newest position whose segment is no longer needed.",
            stats.checkpointed.get(),
        ),
        counter(
            "dormouse_catalog_position",
            "Newest position in the catalog.",
            stats.catalogued.get(),
        ),
        histogram(
            "dormouse_journal_batch_transactions",
            "Transactions per batch: written at once, and made durable by one sync.",
            &stats.batch_transactions,
            1.0,
        ),
        histogram(
            "dormouse_journal_batch_bytes",
            "Bytes of records per batch.",
            &stats.batch_bytes,
            1.0,
        ),
        histogram(
            "dormouse_journal_sync_seconds",
            "Time of one fdatasync of the journal.",
            &stats.sync_time_ns,
            NS_PER_SECOND,
        ),
        gauge(
            "dormouse_journal_segments_in_use",
            "Segments that hold records.",
            stats.segments_in_use,
        ),
        gauge(
            "dormouse_journal_segments_ready",
            "Segments ready to be written.",
            stats.segments_ready,
        ),
        gauge(
            "dormouse_objects_to_backfill",
            "Objects with transactions that are only in their WAL.",
            stats.objects_to_backfill,
        ),
    ]);
}

/// `per_unit` is how many of the values counted make one of what the metric is named for.
fn histogram(name: &str, help: &str, values: &Histogram, per_unit: f64) -> MetricFamily {
    let mut cumulative = 0;
    let buckets = values.bounds.iter().zip(&values.counts).map(|(bound, count)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(as_f64(*bound) / per_unit);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(values.count());
    histogram.set_sample_sum(as_f64(values.sum) / per_unit);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(name, help, MetricType::HISTOGRAM, vec![metric])
}

fn gauge(name: &str, help: &str, value: u64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(as_f64(value));
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    family(name, help, MetricType::GAUGE, vec![metric])
}

fn counter(name: &str, help: &str, value: u64) -> MetricFamily {
    family(name, help, MetricType::COUNTER, vec![counter_metric(value, &[])])
}

fn counter_metric(value: u64, labels: &[(&str, &str)]) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(as_f64(value));
    let labels = labels.iter().map(|(name, value)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    });
    let mut metric = Metric::from_label(labels.collect());
    metric.set_counter(counter);
    metric
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// Prometheus counts in floating point: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "the format has no integers")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
