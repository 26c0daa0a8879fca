//! Carries messages from one object to another, and receipts back.

use std::fmt;
use std::sync::Arc;

use dormouse::{Error, Parcel, Receipt};

use crate::envelope::Envelope;
use crate::object_ref::ObjectRef;
use crate::shared::Shared;

/// Brings a parcel's receipt back to its sender. Dropping it says that the receiver was not
/// available: the sender tries again.
pub(crate) struct Courier {
    sender: ObjectRef,
    shared: Arc<Shared>,
    parcel: Parcel,
    is_settled: bool,
}

/// Puts a parcel, which is durable at its sender, into its receiver's queue.
pub(crate) fn send(shared: &Arc<Shared>, sender: ObjectRef, parcel: Parcel) {
    let receiver = parcel.receiver.clone();
    let courier = Courier { sender, shared: Arc::clone(shared), parcel, is_settled: false };
    match shared.kinds.get(receiver.kind()) {
        Some(kind) => {
            let receiver = shared.object(kind, &receiver);
            shared.push(&receiver, Envelope::Deliver { courier });
        }
        None => {
            let err = Error::not_found(format!("there is no kind {:?}", receiver.kind()));
            let receipt = courier.parcel.refused(err);
            courier.settle(receipt);
        }
    }
}

impl Courier {
    /// What it carries.
    pub(crate) fn parcel(&self) -> &Parcel {
        &self.parcel
    }

    /// Tells the sender what became of it.
    pub(crate) fn settle(mut self, receipt: Receipt) {
        self.push(receipt);
    }

    fn push(&mut self, receipt: Receipt) {
        self.is_settled = true;
        let receiver = self.parcel.receiver.clone();
        self.shared.push(&self.sender, Envelope::Settle { receiver, receipt });
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        if !self.is_settled {
            let err = Error::unavailable("the receiver was not available");
            self.push(self.parcel.refused(err));
        }
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Courier({} to {})", self.parcel.sender, self.parcel.receiver)
    }
}
