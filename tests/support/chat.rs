//! Channels: servers that check tokens, and people in them.

use serde_json::{Value, json};

use crate::http::Request;
use crate::rpc::Answer;
use crate::server::{Server, ServerBuilder};
use crate::socket::Socket;
use crate::token::Signer;

/// The secret of servers that check tokens.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Somebody in a channel.
#[derive(Debug)]
pub struct Member {
    /// Their socket.
    pub socket: Socket,
    /// What they were shown when they came.
    pub state: Value,
}

impl Server {
    /// A server that checks tokens of [`SECRET`].
    pub fn guarded() -> ServerBuilder {
        Server::builder().env("DORMOUSE_AUTH_SECRET", SECRET)
    }

    /// A user enters a channel.
    ///
    /// # Panics
    ///
    /// If they are not shown its state first.
    pub async fn enter(&self, channel: &str, user: &str) -> Member {
        let mut socket = self.socket_of(&format!("/ws/channel/{channel}"), user).await;
        let state = socket.next_of("initial_state").await;
        Member { socket, state }
    }

    /// Calls a mutation as a user who may read and write.
    ///
    /// # Panics
    ///
    /// If there is no answer, or it is no envelope.
    pub async fn mutate_as(&self, user: &str, path: &str, input: &Value) -> Answer {
        let request = Request::post_json(format!("/rpc/{path}"), input.to_string());
        let bearer = format!("Bearer {}", token_of(user));
        self.answer(&request.header("authorization", &bearer)).await
    }

    /// A socket of a user who may read and write. `target` may have a query.
    ///
    /// # Panics
    ///
    /// If the handshake fails.
    pub async fn socket_of(&self, target: &str, user: &str) -> Socket {
        let sign = if target.contains('?') { '&' } else { '?' };
        self.connect(&format!("{target}{sign}token={}", token_of(user))).await
    }
}

/// A token of a user who may read and write, and whose name is their id in capitals.
pub fn token_of(user: &str) -> String {
    let permissions = ["read", "write"];
    let claims = json!({"sub": user, "username": user.to_uppercase(), "permissions": permissions});
    Signer::hs256(SECRET).token(claims)
}

impl Member {
    /// Says goodbye.
    pub async fn leave(self) {
        self.socket.close().await;
    }

    /// Writes a message. Gives its id, once it is acknowledged.
    ///
    /// # Panics
    ///
    /// If something else comes first.
    pub async fn write(&mut self, content: &str) -> String {
        self.socket.send(&json!({"type": "message", "content": content})).await;
        let ack = self.socket.next_of("ack").await;
        let message = self.socket.next_of("message").await;
        assert_eq!(ack["messageId"], message["message"]["id"]);
        ack["messageId"].as_str().expect("an id is text").to_owned()
    }
}
