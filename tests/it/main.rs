//! End-to-end tests: the binary `dormouse` over real sockets, with real files and a real `kill -9`.
//!
//! The modules follow the contract. The checklist of the counter's reference is among them:
//!
//! | row | test |
//! |---|---|
//! | one client | `counter::a_socket_gets_the_state_on_connect_and_each_change_after_it` |
//! | several clients | `counter::every_socket_sees_every_change_whoever_made_it` |
//! | rapid operations | `load::two_thousand_increments_reach_fifty_sockets_in_order_exactly_once` |
//! | reconnection | `resume::a_client_that_comes_back_gets_exactly_what_it_missed` |
//! | network interruption | `resume::a_connection_that_breaks_without_a_word_is_resumed_without_a_gap` |
//! | ping and pong | `socket::an_idle_socket_stays_open_over_many_heartbeats` |
//! | cache synchronisation | `counter::an_event_says_what_a_query_says_after_it` |
//! | switching live updates off and on | `counter::a_client_that_stops_listening_catches_up_when_it_starts_again` |
//! | several counters | `counter::counters_are_isolated_from_each_other` |

mod arrows;
mod auth;
mod auth_attacks;
mod auth_keys;
mod auth_sockets;
mod bounds;
mod channel;
mod channel_shards;
mod chat_crash;
mod counter;
mod crash;
mod disk;
mod docs;
mod draining;
mod event_classes;
mod event_stream;
mod faults;
mod flat_api;
mod frames;
mod handshake;
mod hibernation;
mod hostile_ids;
mod idempotency;
mod limits;
mod load;
mod note;
mod operations;
mod origin;
mod outbox;
mod presence;
mod presence_crowds;
mod restart;
mod resume;
mod resume_under_fire;
mod rpc;
mod rpc_batch;
mod rpc_lines;
mod sessions;
mod settings;
mod slow_readers;
mod socket;
mod startup;
mod subscription;
mod tls;
mod token_command;
mod trimming;
mod types;
