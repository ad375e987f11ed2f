//! Our own SCP, serving C-ECHO to whoever calls it LINK.
//!
//! Invariant: it listens when `start` returns, and drains on drop.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use impaxlink::dimse::{
    Admission, AssociationRequest, Error, FindEnd, FindRequest, FindResponder, Handler, IncomingObject,
    ObjectsServed, PresentationContext, Rejection, RetrieveEnd, RetrieveRequest, RetrieveResponder,
    ScpOptions, Status, StoreRequest, SubOperations, serve, uids,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Admits everyone who calls LINK, but HARBOUR, which may come back later.
pub struct EchoOnly {
    /// Permits to answer a C-ECHO, for tests that must hold one back.
    pub answers: Semaphore,
    requested: mpsc::UnboundedSender<AssociationRequest>,
}

impl Handler for EchoOnly {
    type Caller = ();

    async fn admit(&self, request: &AssociationRequest) -> Result<Admission<()>, Rejection> {
        self.requested.send(request.clone()).unwrap();
        if request.called.raw != "LINK" {
            return Err(Rejection::CALLED_AE_TITLE);
        }
        match request.calling.title.as_ref().map(|title| title.as_str()) {
            Ok("HARBOUR") => Err(Rejection::TEMPORARY_CONGESTION),
            Ok(_) => Ok(Admission {
                caller: (),
                services: vec![PresentationContext::new(uids::VERIFICATION)],
                objects: ObjectsServed::none(),
            }),
            Err(_) => Err(Rejection::CALLING_AE_TITLE),
        }
    }

    async fn echo(&self, (): &()) -> Status {
        self.answers.acquire().await.unwrap().forget();
        Status::SUCCESS
    }

    async fn find(&self, (): &(), _: FindRequest, _: FindResponder) -> FindEnd {
        FindEnd {
            status: Status::UNABLE_TO_PROCESS,
            comment: None,
            offending_elements: Vec::new(),
        }
    }

    async fn retrieve(&self, (): &(), _: RetrieveRequest, _: &mut RetrieveResponder<'_>) -> RetrieveEnd {
        RetrieveEnd {
            status: Status::UNABLE_TO_PROCESS,
            comment: None,
            sub_operations: SubOperations::default(),
            failed_instances: Vec::new(),
        }
    }

    async fn store(&self, (): &(), _: StoreRequest, _: &mut IncomingObject<'_>) -> Status {
        Status::UNABLE_TO_PROCESS
    }
}

/// An SCP on a thread of its own.
pub struct Scp {
    pub port: u16,
    pub handler: Arc<EchoOnly>,
    pub requested: mpsc::UnboundedReceiver<AssociationRequest>,
    pub drain: CancellationToken,
    thread: Option<JoinHandle<Vec<Result<(), Error>>>>,
}

impl Scp {
    pub fn start() -> Self {
        Self::start_with(ScpOptions::default(), Semaphore::MAX_PERMITS)
    }

    pub fn start_with(options: ScpOptions, answers: usize) -> Self {
        let (sender, requested) = mpsc::unbounded_channel();
        let handler = Arc::new(EchoOnly {
            answers: Semaphore::new(answers),
            requested: sender,
        });
        let drain = CancellationToken::new();
        let (ready, port) = oneshot::channel();
        let (its_handler, its_drain) = (handler.clone(), drain.clone());
        let thread =
            std::thread::spawn(move || on_one_thread(listen(options, its_handler, its_drain, ready)));
        Scp {
            port: port.blocking_recv().unwrap(),
            handler,
            requested,
            drain,
            thread: Some(thread),
        }
    }

    /// Drains, and gives how each association ended.
    pub fn outcomes(mut self) -> Vec<Result<(), Error>> {
        self.drain.cancel();
        self.thread.take().unwrap().join().unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Scp {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

async fn listen(
    options: ScpOptions,
    handler: Arc<EchoOnly>,
    drain: CancellationToken,
    ready: oneshot::Sender<u16>,
) -> Vec<Result<(), Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    ready.send(listener.local_addr().unwrap().port()).unwrap();
    let mut associations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, address) = accepted.unwrap();
                let (handler, drain, options) = (handler.clone(), drain.clone(), options.clone());
                associations.spawn(async move { serve(socket, address, options, &*handler, &drain).await });
            }
            () = drain.cancelled() => return associations.join_all().await,
        }
    }
}

/// Runs `future` on a runtime of one thread, as the program's commands do.
pub fn on_one_thread<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}
