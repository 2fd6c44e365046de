//! Many short connections at once.

use super::*;
use crate::lab::tenant_of;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

#[test]
fn thousands_of_connections_accepted_by_many_threads_have_their_own_records() {
    const THREADS: u32 = 4;
    const EACH: u32 = 500;
    in_sandbox(|sandbox| {
        let lab = &Lab::up(sandbox);
        for version in IpVersion::BOTH {
            let listener = &lab.listen(version);
            let address = listener.local_addr().unwrap();
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    scope.spawn(move || (0..EACH).for_each(|_| serve(&accept(listener))));
                    scope.spawn(move || {
                        for tenant in Lab::TENANTS
                            .cycle()
                            .skip(thread as usize)
                            .take(EACH as usize)
                        {
                            ask(lab.connect(address, tenant), tenant);
                        }
                    });
                }
            });
        }
    });
}

#[test]
fn a_record_that_is_read_while_segments_arrive_is_that_of_one_of_them() {
    const WRITES: u32 = 500_000;
    const SEGMENTS: usize = 1000;
    in_sandbox(|sandbox| {
        let lab = Lab::up(sandbox);
        let listener = lab.listen(IpVersion::V4);
        let mut client = lab.connect(listener.local_addr().unwrap(), 1);
        client.set_nodelay(true).unwrap();
        let socket = accept(&listener);
        let mut stream = &socket;
        // A machine with more to do shows fewer of them in the same time.
        let enough = &AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut writes = 0;
                while writes < WRITES || !enough.load(Relaxed) {
                    client.write_all(&[0; 8]).unwrap();
                    writes += 1;
                }
            });
            let taker = scope.spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
            let mut times = BTreeMap::new();
            while !taker.is_finished() {
                let meta = socket.packet_meta().unwrap();
                let time = meta.get(builtin::RX_TIMESTAMP).unwrap();
                assert_eq!(*times.entry(number(&meta)).or_insert(time), time);
                enough.store(times.len() >= SEGMENTS, Relaxed);
            }
            assert!(times.len() >= SEGMENTS);
        });
    });
}

/// Says who it is, and waits for the answer.
fn ask(mut client: TcpStream, tenant: u32) {
    client.write_all(&tenant.to_ne_bytes()).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, tenant.to_ne_bytes());
}

/// Answers a connection whose records are of who it says it is.
fn serve(mut socket: &TcpStream) {
    let tenant = tenant_of(socket.peer_addr().unwrap());
    let opening = socket.opening_meta().unwrap();
    assert_labelled(&opening, tenant);
    let mut said = [0; 4];
    socket.read_exact(&mut said).unwrap();
    assert_eq!(u32::from_ne_bytes(said), tenant);
    let latest = socket.packet_meta().unwrap();
    assert_labelled(&latest, tenant);
    // Not that of the ACK between them.
    assert!(number(&latest) >= number(&opening) + 2);
    socket.write_all(&said).unwrap();
}
