//! Objects from another station, by a C-GET there: each is passed on while it comes.
//!
//! Invariants: a station is proposed only such objects as are taken where they go, so that nothing has to be encoded
//! anew. It has its answer to an object as soon as the object is here: what becomes of it then is not the station's.

use std::collections::BTreeSet;
use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use tokio::time::timeout;

use super::Source;
use super::delivery::{Announced, Delivery, Pieces, SourceBroke};
use super::destination::ObjectKind;
use crate::dimse::{
    Association, Context, DataSetBuilder, Error, Get, GetEvent, GotObject, ObjectFlow, PresentationContext,
    ProposedObjects, Status, connect, uids,
};
use crate::link::{Turn, association_failure, calling, requestor_options};
use crate::model::{ASSOCIATIONS_TO_STATION, Station, Uid};

/// How long a source may take to end after a C-CANCEL.
const CANCEL_WITHIN: Duration = Duration::from_secs(2);
/// Room for objects among the presentation contexts, besides that of the C-GET.
const MAX_KINDS: usize = 127;
/// How many instances are named in one request.
const INSTANCES_AT_ONCE: usize = 500;

/// The transfer syntaxes in which objects travel, the most usual first.
const TRANSFER_SYNTAXES: [&str; 14] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.100",
];

/// The SOP classes of most studies, where a station does not tell.
const SOP_CLASSES: [&str; 14] = [
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.12.1",
    "1.2.840.10008.5.1.4.1.1.20",
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.88.59",
    "1.2.840.10008.5.1.4.1.1.104.1",
];

/// Delivers what a station has of the study.
pub(super) async fn deliver(source: &Source<'_>, station: &Station, delivery: &mut Delivery<'_, '_>) {
    let kinds = delivery.takes(kinds(source)).await;
    if kinds.is_empty() || delivery.is_over() {
        return;
    }
    let opened = tokio::select! {
        biased;
        () = delivery.responder.interrupted() => return,
        opened = open(source, station, kinds) => opened,
    };
    let (mut association, context, _turns) = match opened {
        Ok(opened) => opened,
        Err(why) => return tracing::warn!("{} as a source: {why}", station.name),
    };
    for request in requests(source, delivery) {
        match pass(&mut association, &context, &request, source, station, delivery).await {
            Ok(true) => {}
            // Nothing more is wanted of it.
            Ok(false) => return association.abort().await,
            Err(error) => {
                let calling = calling(station, source.snapshot.settings());
                let why = association_failure(&error, station, &calling);
                return tracing::warn!("{} as a source: {why}", station.name);
            }
        }
    }
    // All that it sent is answered.
    let _ = association.release().await;
}

/// The kinds of objects that may come: its SOP classes, in as many transfer syntaxes as can be proposed.
fn kinds(source: &Source<'_>) -> Vec<ObjectKind> {
    let instances = source
        .holding
        .instances
        .iter()
        .flat_map(|instances| instances.values());
    let mut classes: BTreeSet<Uid> = instances.filter_map(|it| it.sop_class_uid.clone()).collect();
    if classes.is_empty() {
        classes = SOP_CLASSES.iter().filter_map(|uid| uid.parse().ok()).collect();
    }
    let syntaxes = TRANSFER_SYNTAXES.iter().filter_map(|uid| uid.parse::<Uid>().ok());
    let kinds = syntaxes.flat_map(|syntax| {
        let with = move |class: &Uid| (class.clone(), syntax.clone());
        classes.iter().map(with).collect::<Vec<_>>()
    });
    kinds.take(MAX_KINDS).collect()
}

type Opened = (Association, Context, [Option<Turn>; 2]);

async fn open(source: &Source<'_>, station: &Station, kinds: Vec<ObjectKind>) -> Result<Opened, String> {
    let (snapshot, settings) = (source.snapshot, source.snapshot.settings());
    let endpoint = station.endpoint.as_ref().ok_or("it has no address")?;
    let contexts = vec![PresentationContext::new(uids::STUDY_ROOT_GET)];
    let options = requestor_options(station, settings, snapshot.tls(), contexts);
    let mut options = options.map_err(|why| why.to_string())?;
    options.objects = kinds
        .into_iter()
        .map(|(sop_class_uid, transfer_syntax_uid)| ProposedObjects {
            sop_class_uid,
            transfer_syntax_uids: vec![transfer_syntax_uid],
            flow: ObjectFlow::Received,
        })
        .collect();
    // Retrieves are long: half of the associations are left to queries.
    let limit = settings.count(ASSOCIATIONS_TO_STATION);
    let turns = async {
        let own = source
            .service
            .retrieve_turns
            .wait(&station.name, limit.div_ceil(2))
            .await;
        [own, source.service.turns.wait(&station.name, limit).await]
    };
    let turns = turns.await;
    let calling = calling(station, settings);
    let failed = |error: &Error| association_failure(error, station, &calling);
    let mut association = connect(endpoint, &options)
        .await
        .map_err(|error| failed(&error))?;
    match association.context_for(uids::STUDY_ROOT_GET).cloned() {
        Ok(context) => Ok((association, context, turns)),
        Err(error) => {
            // It is the refusal that is told.
            let _ = association.release().await;
            Err(failed(&error))
        }
    }
}

/// What is asked of a source: all it has, where that is all wanted, else the instances by name.
fn requests(source: &Source<'_>, delivery: &Delivery<'_, '_>) -> Vec<DataSetBuilder> {
    let study = source.study.uid.as_str();
    let at = |level: &str| {
        DataSetBuilder::new()
            .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level)
            .put(tags::STUDY_INSTANCE_UID, VR::UI, study)
    };
    let Some(instances) = &source.holding.instances else {
        let asked = source.asked;
        return vec![match (asked.series.as_slice(), asked.instances.as_slice()) {
            ([], []) => at("STUDY"),
            (series, []) => at("SERIES").put(tags::SERIES_INSTANCE_UID, VR::UI, list(series)),
            (series, instances) => at("IMAGE")
                .put(tags::SERIES_INSTANCE_UID, VR::UI, list(series))
                .put(tags::SOP_INSTANCE_UID, VR::UI, list(instances)),
        }];
    };
    let wanted: Vec<(&Uid, Option<&Uid>)> = instances
        .iter()
        .filter(|(uid, _)| delivery.wants(uid))
        .map(|(uid, instance)| (uid, instance.series_instance_uid.as_ref()))
        .collect();
    if wanted.len() == source.holding.in_all {
        return vec![at("STUDY")];
    }
    let series: BTreeSet<Option<&Uid>> = wanted.iter().map(|(_, series)| *series).collect();
    let of_series = |series: Option<&Uid>| {
        let instances: Vec<Uid> = wanted
            .iter()
            .filter(|(_, of)| *of == series)
            .map(|(uid, _)| (*uid).clone())
            .collect();
        let parents = at("IMAGE").put(tags::SERIES_INSTANCE_UID, VR::UI, series.map_or("", Uid::as_str));
        let parts = instances.chunks(INSTANCES_AT_ONCE);
        let parts = parts.map(|part| parents.clone().put(tags::SOP_INSTANCE_UID, VR::UI, list(part)));
        parts.collect::<Vec<_>>()
    };
    series.into_iter().flat_map(of_series).collect()
}

fn list(uids: &[Uid]) -> String {
    let uids: Vec<&str> = uids.iter().map(Uid::as_str).collect();
    uids.join("\\")
}

/// Puts one request to the source, and passes on what comes; false where nothing more is to come.
async fn pass(
    association: &mut Association,
    context: &Context,
    request: &DataSetBuilder,
    source: &Source<'_>,
    station: &Station,
    delivery: &mut Delivery<'_, '_>,
) -> Result<bool, Error> {
    let identifier = request.encode(context.transfer_syntax);
    let identifier = identifier.map_err(|_| Error::Unencodable("a list of instances"))?;
    let mut get = association.get(context, &identifier).await?;
    let silence = station.timeout;
    loop {
        if delivery.is_over() {
            // Whatever it says to that, it is not asked again.
            let _ = timeout(CANCEL_WITHIN, cancel(&mut get)).await;
            return Ok(false);
        }
        let event = tokio::select! {
            biased;
            () = delivery.responder.interrupted() => continue,
            event = get.next(silence) => event?,
        };
        match event {
            GetEvent::Object(object) => {
                if source.holding.instances.is_none() {
                    delivery.expect(&object.announced.sop_instance_uid);
                }
                pass_object(object, silence, delivery).await?;
            }
            GetEvent::Progress(_) => {}
            GetEvent::Done(end) => {
                if !end.status.is_success() {
                    tracing::warn!("{} as a source: ended with {}", station.name, end.status);
                }
                return Ok(true);
            }
        }
    }
}

async fn cancel(get: &mut Get<'_>) -> Result<(), Error> {
    get.cancel().await?;
    while !matches!(get.next(CANCEL_WITHIN).await?, GetEvent::Done(_)) {}
    Ok(())
}

async fn pass_object(
    object: GotObject<'_>,
    silence: Duration,
    delivery: &mut Delivery<'_, '_>,
) -> Result<(), Error> {
    let announced = Announced {
        kind: (
            object.announced.context.sop_class_uid.clone(),
            object.announced.context.transfer_syntax_uid.clone(),
        ),
        instance: object.announced.sop_instance_uid.clone(),
    };
    let mut coming = Coming {
        object: Some(object),
        silence,
        failed: None,
    };
    if delivery.wants(&announced.instance) {
        // What broke is said by the error below.
        let _ = delivery.deliver(&announced, &mut coming).await;
    }
    if let Some(object) = coming.object.take().filter(|_| coming.failed.is_none()) {
        object.answer(Status::SUCCESS, silence).await?;
    }
    coming.failed.map_or(Ok(()), Err)
}

/// An object while it comes. Answered when its last bytes are here.
struct Coming<'g> {
    object: Option<GotObject<'g>>,
    silence: Duration,
    failed: Option<Error>,
}

impl Pieces for Coming<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke> {
        let Some(object) = &mut self.object else {
            return Ok(None);
        };
        let next = match object.next(self.silence).await {
            Ok(None) => match self.object.take() {
                Some(object) => object.answer(Status::SUCCESS, self.silence).await.map(|()| None),
                None => Ok(None),
            },
            next => next,
        };
        next.map_err(|error| {
            self.failed = Some(error);
            SourceBroke
        })
    }
}
