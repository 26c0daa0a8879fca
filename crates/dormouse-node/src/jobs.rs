//! Runs the jobs of objects, on one thread that is no lane.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dormouse::{Finished, Job};

use crate::envelope::Envelope;
use crate::object_ref::ObjectRef;
use crate::shared::Shared;

/// A job that takes longer is dropped.
const JOB_TIME_MAX: Duration = Duration::from_secs(600);

/// A job that runs, or whose result waits in its object's queue: the object stays awake.
pub(crate) struct Running {
    object: ObjectRef,
}

/// Starts a job, whose transaction is durable.
pub(crate) fn start(shared: &Arc<Shared>, object: ObjectRef, job: Job) {
    object.entry().jobs.fetch_add(1, Ordering::Relaxed);
    let running = Running { object: object.clone() };
    let Some(arbiter) = shared.jobs.get() else { return };
    let shared = Arc::clone(shared);
    // `false` means that the server stops. Dropping the job is all that is left to do.
    _ = arbiter.spawn(async move {
        let finished = run(&object, job).await;
        shared.push(&object, Envelope::JobDone { finished, running });
    });
}

/// Runs a job to its end; `None` if it has no result.
async fn run(object: &ObjectRef, job: Job) -> Option<Finished> {
    let mut task = tokio::spawn(job.into_future());
    match tokio::time::timeout(JOB_TIME_MAX, &mut task).await {
        Ok(Ok(finished)) => Some(finished),
        Ok(Err(err)) => {
            tracing::error!(key = %object.key(), error = &err as &dyn std::error::Error, "job panicked");
            None
        }
        Err(_) => {
            task.abort();
            tracing::error!(key = %object.key(), "job took too long and was dropped");
            None
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.object.entry().jobs.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({})", self.object.key())
    }
}
