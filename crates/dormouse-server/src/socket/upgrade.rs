//! The handshake of a socket, below the application: once it is answered, the stream leaves HTTP.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;

use actix_codec::Framed;
use actix_http::{Request, h1};
use actix_service::{Service, ServiceFactory};
use actix_web::http::header::{HeaderName, HeaderValue};
use dormouse_socket::{Accept, Connection, Handshake, Hub, refuse, switch_protocols};

use crate::http::{Arrival, FrontDoor, Problem};
use crate::socket::admit::admit;
use crate::socket::owner::{SocketOwner, SocketSession};
use crate::socket::route;

/// The upgrade service of one HTTP worker.
#[derive(Clone)]
pub(crate) struct UpgradeService {
    door: FrontDoor,
    hub: Rc<Hub<SocketOwner>>,
}

type UpgradeRequest = (Request, Framed<Connection, h1::Codec>);

impl UpgradeService {
    pub(crate) fn new(door: FrontDoor, hub: Rc<Hub<SocketOwner>>) -> UpgradeService {
        UpgradeService { door, hub }
    }

    async fn upgrade(self, request: Request, framed: Framed<Connection, h1::Codec>) {
        let accepted = self.check(&request).await;
        // A client that is gone needs no answer; there is nothing else that could fail.
        match accepted {
            Ok((handshake, accept)) => {
                let subprotocol = handshake.subprotocols().find(|name| *name == "dormouse");
                let deflate = handshake.deflate().filter(|_| self.door.compression);
                let switched = switch_protocols(framed, &handshake, subprotocol, deflate);
                if let Ok(upgraded) = switched {
                    self.hub.accept(upgraded, accept);
                }
            }
            Err(problem) => _ = refuse(framed, problem.into_response().map_into_boxed_body()).await,
        }
    }

    /// Everything that can be wrong, before the object hears of it.
    async fn check(
        &self,
        request: &Request,
    ) -> Result<(Handshake, Accept<SocketSession>), Problem> {
        let head = request.head();
        if let Some(arrival) = request.conn_data::<Arrival>() {
            arrival.complete();
        }
        self.door
            .origins
            .check(head)
            .map_err(|err| Problem::new(err.status(), "FORBIDDEN", err.to_string()))?;
        let destination = route::find(&self.door, &head.uri)?;
        let query = head.uri.query().unwrap_or_default();
        let visitor = self.door.auth.visitor(head.headers(), query).await;
        let mut accept = destination.accept(&self.door, visitor)?;
        admit(&self.door, &mut accept.session, head.peer_addr)?;
        let handshake = Handshake::check(head).map_err(|err| {
            let code = if err.status() == actix_http::StatusCode::UPGRADE_REQUIRED {
                "UPGRADE_REQUIRED"
            } else {
                "BAD_REQUEST"
            };
            let problem = Problem::new(err.status(), code, err.to_string());
            err.headers().iter().fold(problem, |problem, (name, value)| {
                problem.header(HeaderName::from_static(name), HeaderValue::from_static(value))
            })
        })?;
        Ok((handshake, accept))
    }
}

impl ServiceFactory<UpgradeRequest> for UpgradeService {
    type Response = ();
    type Error = actix_web::Error;
    type Config = ();
    type Service = UpgradeService;
    type InitError = ();
    type Future = Ready<Result<UpgradeService, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        ready(Ok(self.clone()))
    }
}

impl Service<UpgradeRequest> for UpgradeService {
    type Response = ();
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), actix_web::Error>>>>;

    actix_service::always_ready!();

    fn call(&self, (request, framed): UpgradeRequest) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            service.upgrade(request, framed).await;
            Ok(())
        })
    }
}
