//! Jobs: work that must wait for something outside, and whose result comes back as another input.

use std::any::Any;
use std::fmt;
use std::pin::Pin;

use crate::cx::Cx;
use crate::error::Error;

/// Most jobs of one object at a time.
pub(crate) const JOBS_MAX: usize = 64;

/// Work of an object that runs beside it, on a thread that is not its lane's. It begins when the
/// transaction that spawned it is durable.
pub struct Job(Pin<Box<dyn Future<Output = Finished> + Send>>);

/// The result of a job, on its way back to its object.
pub struct Finished(Box<dyn Any + Send>);

/// What the object does with the result of a job.
pub(crate) type Continuation<O> = Box<dyn FnOnce(&mut O, &mut Cx<O>) -> Result<(), Error> + Send>;

impl Job {
    pub(crate) fn new<O: 'static, T: Send + 'static>(
        work: impl Future<Output = T> + Send + 'static,
        done: fn(&mut O, &mut Cx<O>, T) -> Result<(), Error>,
    ) -> Job {
        Job(Box::pin(async move {
            let result = work.await;
            let then: Continuation<O> = Box::new(move |object, cx| done(object, cx, result));
            Finished(Box::new(then))
        }))
    }

    /// The work. It may panic, and may take for ever: whoever runs it bounds it.
    pub fn into_future(self) -> Pin<Box<dyn Future<Output = Finished> + Send>> {
        self.0
    }
}

impl Finished {
    /// What the object is to do; an error if the result is for another kind of object.
    pub(crate) fn into_continuation<O: 'static>(self) -> Result<Continuation<O>, Error> {
        let then = self.0.downcast::<Continuation<O>>();
        then.map(|then| *then).map_err(|_| Error::internal("a job of another kind of object"))
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Finished")
    }
}
