//! The native format: any bytes decode to a value or an error, and a value comes back as it went.

#![no_main]

use _subpool::core::wire::plain::{Graph, Refused};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // As a buffer.
    if let Ok(graph) = Graph::decode(bytes) {
        there_and_back(&graph);
    }
    // As a list of choices that make a value, which the writer may refuse but not spoil.
    let graph = Graph::chosen_by(bytes);
    match graph.encode() {
        Ok(_) => there_and_back(&graph),
        Err(Refused::Cycle | Refused::TooDeep) => {}
    }
});

fn there_and_back(graph: &Graph) {
    let bytes = graph.encode().expect("what was decoded has a form");
    let again = Graph::decode(&bytes).expect("what was encoded is readable");
    assert_eq!(again.normal(), graph.normal());
}
