//! `dormouse serve`: puts the parts together, and takes them apart in order.

mod accept;
mod drain;
mod workers;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, anyhow};
use dormouse::{Clock, Kinds, SystemClock};
use dormouse_node::{Node, NodeConfig};
use dormouse_socket::{HubConfig, HubInbox, HubIndex, OriginRules, hub_channel};
use dormouse_store::{Store, StoreOptions};
use tracing_subscriber::EnvFilter;

use crate::admission::Admission;
use crate::auth::{Auth, KeyFetches, KeyReloads};
use crate::cli;
use crate::descriptors::{self, Budget};
use crate::documents::Documents;
use crate::http::FrontDoor;
use crate::memory;
use crate::objects::control;
use crate::serve::workers::{Setup, Workers};
use crate::settings::{
    AuthMode, AuthSettings, Durability, LogFormat, ServeArgs, Settings, SettingsError,
};
use crate::signals::StopSignals;
use crate::tls::{Reloads, Tls};

/// A command that could not be carried out; see [`cli::report`].
const EXIT_FAILURE: i32 = 1;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// What cannot be used or started; nothing is served then.
pub(crate) fn run(args: &ServeArgs, mut kinds: Kinds) -> Result<(), anyhow::Error> {
    let settings = Settings::resolve(args)?;
    for (name, table) in &settings.kinds {
        kinds.configure(name, table.clone()).map_err(SettingsError::from)?;
    }
    start_log(&settings)?;
    let origins = origin_rules(&settings)?;
    let budget = descriptors::budget(&settings)?;
    actix_rt::System::new().block_on(serve(settings, origins, budget, kinds))
}

async fn serve(
    settings: Settings,
    origins: OriginRules,
    budget: Budget,
    kinds: Kinds,
) -> Result<(), anyhow::Error> {
    let mut signals = StopSignals::install().context("cannot wait for signals")?;
    let tls = settings.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
    if let Some(tls) = &tls {
        let reloads = Reloads::install(Arc::clone(tls)).context("cannot wait for SIGHUP")?;
        actix_rt::spawn(reloads.run());
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let auth = start_auth(&settings, &kinds, &clock).await?;
    // Before the data folder: a port that is taken is the cheaper thing to find out.
    let listener = accept::bind(settings.listen)
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr().context("cannot read the address that was bound")?;
    let store = open_store(&settings, &clock)?;

    let (hubs, inboxes): (Vec<_>, Vec<HubInbox>) = (0..settings.workers)
        .map(|index| hub_channel(HubIndex(u16::try_from(index).expect("there are at most 256"))))
        .unzip();
    let node_config = NodeConfig {
        idle_timeout: settings.idle_timeout,
        objects_resident_max: budget.objects_resident_max,
        presence_grace: settings.presence_grace,
        presence_users_max: settings.presence_users_max,
        ..NodeConfig::for_cores(settings.lanes)
    };
    let documents = Documents::of(&kinds);
    let node = Node::start(node_config, store.clone(), clock, kinds, hubs);
    actix_rt::spawn(memory::give_back(node.clone()));
    let door = FrontDoor {
        node: node.clone(),
        origins: Arc::new(origins),
        durability: settings.durability,
        documents,
        echo: settings.echo,
        compression: settings.compression,
        admission: Arc::new(Admission::new(settings.limits.admission(budget.sockets_max))),
        auth,
        is_draining: Arc::new(AtomicBool::new(false)),
    };
    let control = control::start(&settings.data, node.clone())
        .context("cannot open the control socket in the data folder")?;
    let hub_config = HubConfig {
        message_bytes_max: settings.message_bytes_max,
        heartbeat: settings.heartbeat_interval,
        behind_max: settings.limits.slow_reader_timeout,
        message_rate: settings.limits.message_rate(),
        byte_rate: settings.limits.byte_rate(settings.message_bytes_max),
        ..HubConfig::default()
    };
    let head_time_max = settings.limits.handshake_timeout;
    let setup = Setup { door: door.clone(), hub_config, tls, head_time_max };
    let workers = Workers::start(listener, inboxes, &setup).await;
    let workers = workers.context("cannot start the HTTP workers")?;

    announce(address, &settings)?;
    signals.received().await;

    drain::drain(&door, workers, settings.drain_window).await;
    drop(control);
    let closed = actix_rt::task::spawn_blocking(move || store.shut_down()).await;
    closed.context("closing the data folder panicked")?.context("cannot close the data folder")?;
    tracing::info!("stopped");
    Ok(())
}

/// Reads the keys of tokens, and begins to look after them.
async fn start_auth(
    settings: &Settings,
    kinds: &Kinds,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Auth>, anyhow::Error> {
    let auth = Arc::new(Auth::new(settings.auth.clone(), kinds, Arc::clone(clock))?);
    if !auth.keys().is_empty() {
        let reloads =
            KeyReloads::install(Arc::clone(auth.keys())).context("cannot wait for SIGHUP")?;
        actix_rt::spawn(reloads.run());
    }
    let fetches = KeyFetches::new(auth.keys(), auth.refreshes());
    if let Some(mut fetches) = fetches.context("keys cannot be fetched")? {
        // A server that is started again beside the one that gives out keys must not depend on who is
        // first: it serves without these keys, and goes on trying.
        fetches.fetch().await;
        actix_rt::spawn(fetches.run());
    }
    Ok(auth)
}

fn open_store(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Store, anyhow::Error> {
    let options = StoreOptions {
        durability: match settings.durability {
            Durability::Fsync => dormouse_store::Durability::Fsync,
            Durability::Os => dormouse_store::Durability::Os,
        },
        clock: Arc::clone(clock),
        on_fatal: Box::new(stop_process),
        ..StoreOptions::new(&settings.data)
    };
    Ok(Store::open(options)?)
}

/// Ends the process at once: nothing that is not durable may leave any more, not even the answer
/// that a clean stop would give.
#[expect(clippy::exit, reason = "called by threads of the store, which have nobody to return to")]
fn stop_process(reason: &str) {
    cli::report(&anyhow!("the store cannot keep its promise: {reason}"));
    std::process::exit(EXIT_FAILURE);
}

fn origin_rules(settings: &Settings) -> Result<OriginRules, SettingsError> {
    if settings.allow_origin.is_empty() && settings.listen.ip().is_loopback() {
        return Ok(OriginRules::loopback());
    }
    OriginRules::list(&settings.allow_origin).map_err(|err| SettingsError::Origin(err.to_string()))
}

fn start_log(settings: &Settings) -> Result<(), SettingsError> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|err| SettingsError::Log(format!("{:?}: {err}", settings.log)))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// One line on standard output, for people and for scripts that wait for it.
fn announce(address: std::net::SocketAddr, settings: &Settings) -> Result<(), anyhow::Error> {
    tracing::info!(
        %address,
        data = %settings.data.display(),
        durability = settings.durability.as_str(),
        "serving"
    );
    let AuthSettings { mode, keys, .. } = &settings.auth;
    if keys.is_empty() {
        tracing::info!("serving without tokens: everybody who reaches this address may call");
    } else if *mode == Some(AuthMode::Open) {
        tracing::info!(
            keys = keys.len(),
            "open: kinds without a policy of their own need no token"
        );
    } else {
        tracing::info!(keys = keys.len(), "kinds without a policy of their own need a token");
    }
    if settings.allow_origin.is_empty() && !settings.listen.ip().is_loopback() {
        tracing::warn!(
            "no page may call, not even the one served here: name the origins with --allow-origin"
        );
    }
    let mut stdout = std::io::stdout().lock();
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    writeln!(stdout, "dormouse is ready on {scheme}://{address}")
        .context("cannot write to stdout")?;
    stdout.flush().context("cannot write to stdout")
}
