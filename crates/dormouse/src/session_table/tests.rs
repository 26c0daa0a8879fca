use super::*;

/// The table under test, which shows so many users.
fn table(users_max: usize) -> SessionTable<u32> {
    let (grace, strangers_until) = (Duration::from_secs(5), Timestamp::EPOCH);
    SessionTable::new(SessionLimits { grace, users_max, strangers_until })
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_ms(seconds * 1000)
}

fn id(n: u8) -> SessionId {
    SessionId::from_random([n; 16])
}

fn session(n: u8, user: &str) -> Session {
    let user = (!user.is_empty()).then(|| Arc::new(User::new(user, user)));
    Session { id: id(n), user, joined_at: at(n.into()) }
}

fn known(n: u8) -> Option<SessionId> {
    Some(id(n))
}

fn name(user: Option<OnlineUser>) -> String {
    user.map(|user| user.user_id).unwrap_or_default()
}

fn present(table: &SessionTable<u32>) -> Vec<String> {
    table.online().users.into_iter().map(|user| user.user_id).collect()
}

#[test]
fn users_are_announced_and_not_tabs() {
    let mut table = table(100);

    assert_eq!(name(table.join(1, session(1, "ann"), None).arrived), "ann");
    assert_eq!(name(table.join(2, session(2, "ann"), None).arrived), "");
    assert_eq!(name(table.join(3, session(3, "bob"), None).arrived), "bob");
    assert_eq!(name(table.leave(id(1), 1, Departure::Final, at(4)).departed), "");
    assert_eq!(present(&table), ["ann", "bob"]);
    assert_eq!(name(table.leave(id(2), 2, Departure::Final, at(4)).departed), "ann");

    assert_eq!(present(&table), ["bob"]);
    assert_eq!(table.len(), 1);
}

#[test]
fn nobody_hears_of_a_tab_that_lost_its_network_for_a_moment() {
    let mut table = table(100);
    table.join(1, session(1, "ann"), None);

    let left = table.leave(id(1), 1, Departure::Dropped, at(10));
    assert_eq!(left, Left { departed: None, look_again: Some(at(15)) });
    assert_eq!(present(&table), ["ann"]);
    let back = table.join(2, session(9, "ann"), known(1));

    assert_eq!((back.session.id, name(back.arrived)), (id(1), String::new()));
    assert_eq!(back.session.joined_at, at(1), "it is the session of before");
    assert_eq!(table.look(id(1), at(15)), Left::default());
    assert_eq!(present(&table), ["ann"]);
}

#[test]
fn after_the_grace_period_others_hear_that_a_user_left() {
    let mut table = table(100);
    table.join(1, session(1, "ann"), None);
    table.leave(id(1), 1, Departure::Dropped, at(10));

    assert_eq!(table.look(id(1), at(12)), Left::default(), "too early");
    assert_eq!(name(table.look(id(1), at(15)).departed), "ann");

    assert!(present(&table).is_empty());
    assert!(!table.knows(id(1), at(400)), "nothing was noted about it");
}

#[test]
fn what_was_noted_about_a_session_is_kept_for_five_minutes() {
    let mut table = table(100);
    table.join(1, session(1, "ann"), None);
    table.set_notes(id(1), Arc::default(), true);

    table.leave(id(1), 1, Departure::Dropped, at(10));
    let looked = table.look(id(1), at(15));
    assert_eq!((name(looked.departed), looked.look_again), ("ann".to_owned(), Some(at(310))));
    let back = table.join(2, session(9, "ann"), known(1));
    assert_eq!((back.session.id, name(back.arrived)), (id(1), "ann".to_owned()));
    assert!(table.notes(id(1)).is_some());

    table.leave(id(1), 2, Departure::Final, at(20));
    assert_eq!(table.look(id(1), at(320)), Left::default());
    assert!(!table.knows(id(1), at(400)));
    assert_eq!(table.resting, 0);
}

#[test]
fn a_session_that_comes_back_takes_over_its_older_socket() {
    let mut table = table(100);
    table.join(1, session(1, "ann"), None);

    let back = table.join(2, session(9, "ann"), known(1));
    let late = table.leave(id(1), 1, Departure::Dropped, at(3));

    assert_eq!(back.replaced, Some(1));
    assert_eq!(late, Left::default(), "the older socket's end means nothing");
    assert_eq!(table.socket(id(1)), Some(2));
    assert_eq!(table.len(), 1);
}

#[test]
fn nobody_gets_the_session_of_somebody_else() {
    let mut table = table(100);
    table.join(1, session(1, "ann"), None);

    for (n, user) in [(2, "eve"), (3, "")] {
        let joined = table.join(n.into(), session(n, user), known(1));
        assert_eq!((joined.session.id, joined.replaced), (id(n), None), "{user}");
    }
    assert_eq!(table.socket(id(1)), Some(1));
}

#[test]
fn others_see_the_name_of_the_newest_token() {
    let mut table = table(100);
    table.join(1, session(1, "ann"), None);
    let named = |name: &str| Arc::new(User::new("ann", name));

    assert!(table.renew(id(1), 1, &named("Anna")));
    assert!(!table.renew(id(1), 1, &named("Anna")), "nothing is new");
    assert_eq!(table.online().users[0].username, "Anna");
    assert_eq!(table.session(id(1)).unwrap().user, Some(named("Anna")));
    assert!(table.join(2, Session { user: Some(named("Ann")), ..session(2, "") }, None).is_renamed);
    assert_eq!(table.online().users[0].username, "Ann");

    assert!(!table.renew(id(1), 9, &named("of an older socket")));
    assert!(!table.renew(id(1), 1, &Arc::new(User::new("eve", "of somebody else"))));
    assert!(!table.renew(id(7), 1, &named("of nobody")));
    assert_eq!((table.online().users[0].username.as_str(), table.online_count()), ("Ann", 1));
    table.leave(id(1), 1, Departure::Final, at(5));
    assert_eq!(name(table.leave(id(2), 2, Departure::Final, at(5)).departed), "ann");
}

#[test]
fn a_name_that_nobody_knows_is_believed_only_soon_after_the_start() {
    let mut table = table(100);
    table.limits.strangers_until = at(2);

    let believed = table.join(1, session(1, "ann"), known(7));
    assert_eq!((believed.session.id, believed.is_stranger), (id(7), true));
    let refused = table.join(2, session(2, "ann"), known(8));
    assert_eq!((refused.session.id, refused.is_stranger), (id(2), false));
}

#[test]
fn each_session_without_a_user_is_a_guest_of_its_own() {
    let mut table = table(100);
    table.join(1, session(0x11, ""), None);
    let second = table.join(2, session(0x22, ""), None).arrived.unwrap();

    assert_eq!(
        (second.user_id.as_str(), second.username.as_str()),
        ("anonymous:22222222", "Guest")
    );
    assert_eq!(present(&table), ["anonymous:11111111", "anonymous:22222222"]);
    assert!(table.leave(id(0x11), 1, Departure::Final, at(99)).departed.is_some());
    assert_eq!(present(&table), ["anonymous:22222222"]);
}

#[test]
fn of_many_those_who_came_first_are_shown_with_the_true_number() {
    let mut table = table(3);
    for n in (1..=50).rev() {
        table.join(n.into(), session(n, &format!("user {n}")), None);
    }

    let Online { users, total, .. } = table.online();

    assert!(table.is_crowded());
    assert_eq!((users.len(), total), (CROWD_SHOWN, 50));
    assert_eq!((users[0].user_id.as_str(), users[1].user_id.as_str()), ("user 1", "user 2"));
    assert!(table.is_online("user 50"), "also who is not shown");
}

#[test]
fn no_more_sessions_rest_than_fit() {
    let mut table = table(100);
    for n in 0..=u32::try_from(RESTING_MAX).unwrap() {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let new = Session { id: SessionId::from_random(bytes), ..session(0, "ann") };
        table.join(n, new.clone(), None);
        table.leave(new.id, n, Departure::Dropped, at(1));
    }

    assert_eq!(table.resting, RESTING_MAX);
    assert_eq!(table.seats.len(), RESTING_MAX);
}

#[test]
fn a_session_that_comes_and_goes_is_looked_at_once() {
    let mut table = table(100);
    table.join(1, session(1, "ann"), None);
    let mut looks = 0;

    for second in 10..14 {
        let left = table.leave(id(1), 1, Departure::Dropped, at(second));
        looks += usize::from(left.look_again.is_some());
        table.join(1, session(1, "ann"), known(1));
    }
    table.leave(id(1), 1, Departure::Dropped, at(14));

    assert_eq!(looks, 1);
    assert_eq!(table.look(id(1), at(15)).look_again, Some(at(19)), "since it left the last time");
    assert_eq!(name(table.look(id(1), at(19)).departed), "ann");
}

#[test]
fn who_was_not_restored_is_still_a_stranger_when_it_comes_again() {
    let mut table = table(100);
    table.limits.strangers_until = at(50);

    assert!(table.join(1, session(1, "ann"), known(7)).is_stranger);
    assert!(table.join(2, session(2, "ann"), known(7)).is_stranger, "its first try was refused");
    table.restored(id(7));
    assert!(!table.join(3, session(3, "ann"), known(7)).is_stranger);
}
