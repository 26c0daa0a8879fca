use std::num::{NonZeroU32, NonZeroU64};

use dormouse::User;
use dormouse_socket::{Rate, TopicId};

use super::{AddressBlock, Admission, AdmissionLimits, Applicant, ObjectSeat, Refusal};

const MAX: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Room for all but what a test sets to [`MAX`].
fn limits() -> AdmissionLimits {
    AdmissionLimits {
        sockets_max: 100,
        per_address_max: NonZeroU32::MAX,
        per_user_max: NonZeroU32::MAX,
        per_object_max: NonZeroU32::MAX,
        connection_rate: Rate::per_second(NonZeroU64::new(1_000).unwrap()),
    }
}

fn block(address: &str) -> Option<AddressBlock> {
    AddressBlock::of(address.parse().unwrap())
}

fn user(id: &str) -> User {
    User::new(id, id)
}

/// A place in an object that sets no limit of its own.
fn seat(topic: u64) -> ObjectSeat {
    ObjectSeat { topic: TopicId(topic), sockets_max: NonZeroU32::MAX }
}

const NOBODY: Applicant<'static> = Applicant { address: None, user: None, object: None };

/// Admits one over the limit, and then another once somebody has left.
fn assert_third_is_refused(
    limits: AdmissionLimits,
    same: Applicant<'_>,
    other: Applicant<'_>,
) -> Refusal {
    let admission = Admission::new(limits);
    admission.admit(same, 0).unwrap();
    admission.admit(same, 0).unwrap();

    let refusal = admission.admit(same, 0).unwrap_err();

    assert_eq!(admission.check(same, 0), Err(refusal));
    assert_eq!(admission.admit(other, 0), Ok(()), "others have their own limit");
    admission.leave(same);
    assert_eq!(admission.check(same, 0), Ok(()));
    assert_eq!(admission.admit(same, 0), Ok(()));
    assert_eq!(admission.admit(same, 0), Err(refusal));
    let refused: Vec<_> = admission.refused().filter(|(_, count)| *count > 0).collect();
    assert_eq!(refused, [(refusal.as_str(), 2)], "looking is not counted");
    refusal
}

#[test]
fn an_ipv4_address_has_a_limit_of_its_own() {
    let limits = AdmissionLimits { per_address_max: MAX, ..limits() };
    let from = |address| Applicant { address: block(address), ..NOBODY };

    let refusal = assert_third_is_refused(limits, from("192.0.2.1"), from("192.0.2.2"));

    assert_eq!(refusal, Refusal::Address);
}

#[test]
fn the_addresses_of_one_64_share_a_limit() {
    let limits = AdmissionLimits { per_address_max: MAX, ..limits() };
    let admission = Admission::new(limits);
    let from = |address| Applicant { address: block(address), ..NOBODY };
    admission.admit(from("2001:db8:0:1::1"), 0).unwrap();
    admission.admit(from("2001:db8:0:1:ffff::"), 0).unwrap();

    assert_eq!(admission.admit(from("2001:db8:0:1:8:8:8:8"), 0), Err(Refusal::Address));
    assert_eq!(admission.admit(from("2001:db8:0:2::1"), 0), Ok(()));
}

#[test]
fn an_address_is_the_same_however_it_is_written_and_this_machine_has_none() {
    assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
    assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
    for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(block(address), None, "{address}");
    }
}

#[test]
fn a_user_has_a_limit_wherever_the_sockets_come_from() {
    let limits = AdmissionLimits { per_user_max: MAX, ..limits() };
    let (ada, bob) = (user("ada"), user("bob"));
    let of = |user| Applicant { user: Some(user), ..NOBODY };

    assert_eq!(assert_third_is_refused(limits, of(&ada), of(&bob)), Refusal::User);
}

#[test]
fn an_object_has_a_limit_whoever_watches_it() {
    let limits = AdmissionLimits { per_object_max: MAX, ..limits() };
    let of = |topic| Applicant { object: Some(seat(topic)), ..NOBODY };

    assert_eq!(assert_third_is_refused(limits, of(1), of(2)), Refusal::Object);
}

#[test]
fn sockets_that_are_closing_still_count_against_the_node() {
    let admission = Admission::new(AdmissionLimits { sockets_max: 2, ..limits() });

    admission.admit(NOBODY, 0).unwrap();
    assert_eq!(admission.admit(NOBODY, 2), Err(Refusal::Sockets), "two have a descriptor");
    admission.admit(NOBODY, 1).unwrap();
    assert_eq!(admission.admit(NOBODY, 1), Err(Refusal::Sockets), "one is not open yet");
}

#[actix_rt::test]
async fn new_sockets_have_a_rate_and_time_brings_room() {
    let connection_rate = Rate::per_second(NonZeroU64::new(10).unwrap());
    let admission = Admission::new(AdmissionLimits { connection_rate, ..limits() });
    tokio::time::pause();
    let count = || (0..50).filter(|_| admission.admit(NOBODY, 0).is_ok()).count();

    assert_eq!(count(), 10);
    assert_eq!(admission.check(NOBODY, 0), Err(Refusal::ConnectionRate));
    tokio::time::advance(std::time::Duration::from_millis(500)).await;
    assert_eq!(count(), 5);
}

#[test]
fn whoever_has_left_leaves_nothing_behind() {
    let admission = Admission::new(limits());
    let ada = user("ada");
    let applicant =
        Applicant { address: block("192.0.2.1"), user: Some(&ada), object: Some(seat(1)) };
    admission.admit(applicant, 0).unwrap();

    admission.leave(applicant);

    let counts = admission.lock();
    assert_eq!(counts.sockets, 0);
    assert!(counts.addresses.is_empty() && counts.users.is_empty() && counts.objects.is_empty());
}
