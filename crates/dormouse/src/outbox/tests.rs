use super::*;

fn plan(statement: &str) -> Vec<String> {
    let connection = Connection::open_in_memory().unwrap();
    OUTBOX.ensure(&connection).unwrap();
    let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    let parameters = vec![1; explained.parameter_count()];
    explained
        .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
        .and_then(Iterator::collect)
        .unwrap()
}

/// All of these run for every message. A scan would make sending cost as much as messages wait.
#[test]
fn no_statement_walks_over_messages_for_others() {
    let by_receiver = "SEARCH dormouse_outbox USING INDEX dormouse_outbox_by_receiver";

    assert_eq!(plan(SELECT_HEAD), [format!("{by_receiver} (kind=? AND id=?)")]);
    assert_eq!(plan(SELECT_PARCEL), [format!("{by_receiver} (kind=? AND id=?)")]);
    assert_eq!(plan(DELETE_ACCEPTED), [format!("{by_receiver} (kind=? AND id=? AND rowid<?)")],);
    assert_eq!(
        plan(SELECT_EARLIEST),
        ["SEARCH dormouse_outbox USING COVERING INDEX dormouse_outbox_by_due (due_ms>?)"],
    );
    assert_eq!(
        plan(SELECT_DUE),
        ["SEARCH dormouse_outbox USING INDEX dormouse_outbox_by_due (due_ms>? AND due_ms<?)"],
    );
}
