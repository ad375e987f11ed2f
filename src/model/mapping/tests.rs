//! The shipped tables against descriptions as modalities and information systems write them, and what holds for any.

use super::*;
use crate::model::BadLine;

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn shipped(description: &str, modality: &str, examined: &str) -> (String, String) {
    let (modalities, parts) = (texts(&[modality]), texts(&[examined]));
    let mapped = MappingTable::shipped().compute(&StudyFacts {
        description: (!description.is_empty()).then_some(description),
        modalities: &modalities,
        body_parts_examined: &parts,
        ..StudyFacts::default()
    });
    let shown = |value: Option<&str>| value.unwrap_or("-").to_owned();
    (shown(mapped.body_part()), shown(mapped.specialty()))
}

/// Each line: modality, BodyPartExamined, description | body part, specialty.
const REALISTIC: &str = "
CT,,CT HEAD W/O CONTRAST|HEAD,NEURORADIOLOGY
CT,,CT Schädel nativ|HEAD,NEURORADIOLOGY
CT,,Schaedel-CT|HEAD,NEURORADIOLOGY
CT,,TDM crâne sans injection|HEAD,NEURORADIOLOGY
MR,,IRM encéphale|HEAD,NEURORADIOLOGY
MR,,RM cerebrale con mdc|HEAD,NEURORADIOLOGY
MR,,RM craneo|HEAD,NEURORADIOLOGY
CT,,CT NNH|HEAD,HEAD AND NECK
MR,,MR HIPPOCAMPUS BRAIN|HEAD,NEURORADIOLOGY
CT,,CT SOFT TISSUE NECK W CONTRAST|NECK,HEAD AND NECK
US,,Sonographie Hals|NECK,HEAD AND NECK
US,,US THYROID|NECK,HEAD AND NECK
CT,,TDM cervicale|NECK,HEAD AND NECK
CT,,CT CHEST W CONTRAST|CHEST,THORACIC
CR,,Rx Thorax face et profil|CHEST,THORACIC
DX,,Thorax p.a./seitl.|CHEST,THORACIC
CT,,HRCT Lunge|CHEST,THORACIC
CT,,TAC torace|CHEST,THORACIC
DX,,RX TORAX PA Y LAT|CHEST,THORACIC
CT,,CT CHEST ABDOMEN PELVIS|CHEST,THORACIC
CT,,CT ABD/PELVIS W CONTRAST|ABDOMEN,ABDOMINAL
CT,,CT ABDOMEN PELVIS|ABDOMEN,ABDOMINAL
US,,Abdomen-Sonographie|ABDOMEN,ABDOMINAL
MR,,MRCP|ABDOMEN,ABDOMINAL
US,,Ecografia addome completo|ABDOMEN,ABDOMINAL
CT,,CT Darmdarstellung|ABDOMEN,ABDOMINAL
MR,,MRT Oberbauch|ABDOMEN,ABDOMINAL
MR,,MR PROSTATE|PELVIS,ABDOMINAL
DX,,Beckenübersicht|PELVIS,MUSCULOSKELETAL
US,,US TRANSVAGINAL PELVIS|PELVIS,ABDOMINAL
MR,,MR LUMBAR SPINE W/O|SPINE,NEURORADIOLOGY
DX,,LWS in 2 Ebenen|SPINE,MUSCULOSKELETAL
MR,,IRM rachis lombaire|SPINE,NEURORADIOLOGY
MR,,RM colonna cervicale|SPINE,NEURORADIOLOGY
DX,,RX COLUMNA DORSAL|SPINE,MUSCULOSKELETAL
CT,,CT Brustwirbelsäule|SPINE,NEURORADIOLOGY
MR,,MRI CERVICAL WO|SPINE,NEURORADIOLOGY
DX,,XR CERVICAL AP LAT|SPINE,MUSCULOSKELETAL
MR,,MR KNIE LINKS|LOWER EXTREMITY,MUSCULOSKELETAL
MR,,MR left hip|LOWER EXTREMITY,MUSCULOSKELETAL
DX,,Rx Fuß rechts d.p.|LOWER EXTREMITY,MUSCULOSKELETAL
MR,,IRM genou droit|LOWER EXTREMITY,MUSCULOSKELETAL
DX,,RX RODILLA DCHA|LOWER EXTREMITY,MUSCULOSKELETAL
DX,,RX ginocchio sin|LOWER EXTREMITY,MUSCULOSKELETAL
CT,,CT FEMORAL HEAD|LOWER EXTREMITY,MUSCULOSKELETAL
CT,,CTA RUNOFF|LOWER EXTREMITY,MUSCULOSKELETAL
DX,,XR WRIST 3V RIGHT|UPPER EXTREMITY,MUSCULOSKELETAL
MR,,MRT Schulter re.|UPPER EXTREMITY,MUSCULOSKELETAL
DX,,Radio main gauche|UPPER EXTREMITY,MUSCULOSKELETAL
DX,,RX MANO IZQ|UPPER EXTREMITY,MUSCULOSKELETAL
DX,,RX polso|UPPER EXTREMITY,MUSCULOSKELETAL
MG,,MAMMO SCREENING BILAT|BREAST,BREAST IMAGING
MG,,|BREAST,BREAST IMAGING
MR,,MR Mamma bds.|BREAST,BREAST IMAGING
US,,Echographie du sein|BREAST,BREAST IMAGING
CT,,CT CORONARY ANGIO|HEART,CARDIAC
MR,,Herz-MRT|HEART,CARDIAC
US,,Échocardiographie du cœur|HEART,CARDIAC
XA,,Koronarangiographie|HEART,CARDIAC
PT,,PET/CT skull base to mid-thigh|WHOLE BODY,NUCLEAR MEDICINE
NM,,Skelettszintigraphie Ganzkörper|WHOLE BODY,NUCLEAR MEDICINE
NM,,BONE SCAN|WHOLE BODY,NUCLEAR MEDICINE
CT,,Polytrauma-CT|WHOLE BODY,-
XA,,ANGIO AORTA|ABDOMEN,VASCULAR AND INTERVENTIONAL
CT,,CT-gesteuerte Punktion Leber|ABDOMEN,VASCULAR AND INTERVENTIONAL
PX,,|HEAD,DENTAL
CT,BRAIN,|HEAD,NEURORADIOLOGY
CT,ABDOMEN,Routine|ABDOMEN,ABDOMINAL
CR,knee,|LOWER EXTREMITY,MUSCULOSKELETAL
CR,EXTREMITY,|EXTREMITY,MUSCULOSKELETAL
MR,HEAD,MR KNEE|LOWER EXTREMITY,MUSCULOSKELETAL
RTDOSE,,|-,RADIATION ONCOLOGY
CT,,Untersuchung mit Kontrastmittelfüllung|-,-
OT,,COMPUTER IMAGEN|-,-
CT,,|-,-
";

#[test]
fn the_shipped_tables_know_what_sites_write() {
    let mut wrong = Vec::new();
    for line in REALISTIC.trim().lines() {
        let (study, expected) = line.split_once('|').unwrap();
        let [modality, examined, description] =
            study.splitn(3, ',').collect::<Vec<_>>()[..].try_into().unwrap();
        let (part, specialty) = shipped(description, modality, examined);
        if format!("{part},{specialty}") != expected {
            wrong.push(format!("{study}: {part},{specialty}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn table(lines: &str) -> MappingTable {
    let heading = MAPPING_COLUMNS.join(",");
    read_mapping_csv(&format!("{heading}\n{lines}")).unwrap()
}

#[test]
fn every_named_condition_must_hold_and_the_first_rule_wins() {
    let table = table(
        "body_part,10,CODED,CTCHE,,,,\n\
         body_part,20,BOTH,,*chest*,MR,,\n\
         body_part,20,DESCRIBED,,*chest*,,,\n\
         body_part,90,REST,,*,,,\n\
         specialty,10,BUILT,,,,,BOTH\n",
    );
    let compute = |codes: &[&str], description, modality: &str| {
        let (codes, modalities) = (texts(codes), texts(&[modality, "SR"]));
        let mapped = table.compute(&StudyFacts {
            procedure_codes: &codes,
            description,
            modalities: &modalities,
            body_parts_examined: &[],
        });
        (
            mapped.body_part().map(str::to_owned),
            mapped.specialty().map(str::to_owned),
        )
    };
    let gives = |part: &str| (Some(part.to_owned()), None);
    assert_eq!(compute(&["X", "CTCHE"], Some("CHEST"), "MR"), gives("CODED"));
    assert_eq!(
        compute(&[], Some("Chest"), "mr"),
        (Some("BOTH".to_owned()), Some("BUILT".to_owned()))
    );
    assert_eq!(compute(&[], Some("Chest"), "CT"), gives("DESCRIBED"));
    assert_eq!(compute(&[], Some("Knee"), "CT"), gives("REST"));
    assert_eq!(compute(&[], None, "CT"), gives("REST"));
}

#[test]
fn what_is_written_as_csv_is_read_back() {
    let shipped = MappingTable::shipped();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(MAPPING_COLUMNS).unwrap();
    for rule in shipped.rules() {
        writer.write_record(mapping_columns(rule)).unwrap();
    }
    let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
    assert_eq!(read_mapping_csv(&text).unwrap(), *shipped);
    // As a spreadsheet of another country saves it.
    let semicolons = format!("\u{feff}{}", text.replace(',', ";").replace('\n', "\r\n"));
    assert_eq!(read_mapping_csv(&semicolons).unwrap(), *shipped);
}

#[test]
fn every_bad_line_is_named_with_its_value_and_rule() {
    let bad = read_mapping_csv(
        "target,order,value,modality,description\n\
         organ,10,LIVER,CT,\n\
         body_part,10,LIVER,CT,\n\
         body_part,first,LIVER,MR,\n\
         body_part,20,LUNG,ct,\n\
         body_part,10,LIVER,,\n\
         body_part,10,LIVER,C-T,\n\
         body_part,10,LIVER\n",
    );
    let told: Vec<String> = bad.unwrap_err().iter().map(BadLine::to_string).collect();
    for (line, words) in [
        (2, "target \"organ\""),
        (4, "order \"first\""),
        (5, "line 3 has the same conditions"),
        (6, "needs a condition"),
        (7, "modality \"C-T\""),
        (8, "3 columns"),
    ] {
        let expected = format!("line {line}: ");
        assert!(
            told.iter()
                .any(|text| text.starts_with(&expected) && text.contains(words)),
            "{line} {words}: {told:?}"
        );
    }
    assert_eq!(told.len(), 6, "{told:?}");
}

#[test]
fn a_file_of_another_kind_is_refused() {
    for text in [
        "",
        "name,port\nA,1\n",
        "target,order\n",
        "target,order,value\n",
        "target,target,order,value\n",
    ] {
        assert!(read_mapping_csv(text).is_err(), "{text:?}");
    }
    let computed = "target,order,value,body_part\nbody_part,1,X,HEAD\n";
    let bad = read_mapping_csv(computed).unwrap_err();
    assert!(bad[0].to_string().contains("body_part_examined"), "{bad:?}");
}

#[test]
fn the_digest_is_of_the_values_alone() {
    let one = table("body_part,10,B,,*x*,,,\nspecialty,1,A,,*y*,,,\n");
    let other = table("specialty,1,A,,*z*,,,\nspecialty,2,B,,*w*,,,\nspecialty,3,A,,*v*,,,\n");
    // printf 'A\nB\n' | sha256sum
    let expected = "daee1cd25194ae952d046ad9b9c81d3c07dc5332440b58d6d7461b248be56712";
    assert_eq!(one.vocabulary_digest(), other.vocabulary_digest());
    assert_eq!(one.vocabulary_digest(), expected);
    assert_ne!(
        one.vocabulary_digest(),
        MappingTable::shipped().vocabulary_digest()
    );
}

#[test]
fn a_rule_replaces_the_one_with_the_same_conditions() {
    let before = table("body_part,10,CHEST,,*thorax*,,,\nbody_part,20,HEAD,,*kopf*,,,\n");
    let changed = table("body_part,30,LUNG,,*THORAX*,,,\n").rules()[0].clone();
    let after = before.with(changed.clone()).unwrap();
    assert_eq!(after.rules().len(), 2);
    assert_eq!(after.same_conditions(&changed), Some(&changed));
    let without = after.without(&changed).unwrap();
    assert_eq!(without.rules().len(), 1);
    assert!(without.without(&without.rules()[0]).is_err());
}
