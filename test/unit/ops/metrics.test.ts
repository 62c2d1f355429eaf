import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { busy, fastPath, busyStatus } from "./busy.ts";
import { backend, exampleMetrics, exampleStatus, released } from "./example.ts";

const WALL_MS = Date.UTC(2026, 0, 1);

function lines(text: string, name: string): string[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .toSorted();
}

describe("/metrics", () => {
  test("tells client-go's dashboards who leads, and ours the rest", async () => {
    const text = await exampleMetrics().render(exampleStatus(), WALL_MS);
    assert.deepEqual(lines(text, "leasehold_standing_by"), ["leasehold_standing_by 0"]);
    assert.deepEqual(lines(text, "leader_election_master_status"), [
      'leader_election_master_status{name="leasehold"} 1',
    ]);
    assert.deepEqual(lines(text, "leader_election_slowpath_total"), [
      'leader_election_slowpath_total{name="leasehold"} 0',
    ]);
    assert.deepEqual(lines(text, "leasehold_build_info"), [
      'leasehold_build_info{version="0.1.0",node_version="v24.0.0"} 1',
    ]);
    assert.deepEqual(lines(text, "leasehold_state"), [
      'leasehold_state{state="BACKUP"} 0',
      'leasehold_state{state="FAULT"} 0',
      'leasehold_state{state="INIT"} 0',
      'leasehold_state{state="MASTER"} 1',
      'leasehold_state{state="PROVISIONAL"} 0',
      'leasehold_state{state="RELEASING"} 0',
      'leasehold_state{state="STOPPED"} 0',
    ]);
    assert.deepEqual(lines(text, "leasehold_vip_bound"), [
      'leasehold_vip_bound{vip="192.0.2.10",interface="eth0"} 1',
      'leasehold_vip_bound{vip="2001:db8::10",interface="eth0"} 1',
    ]);
    assert.deepEqual(lines(text, "leasehold_announcements_sent_total"), [
      'leasehold_announcements_sent_total{vip="192.0.2.10",protocol="arp"} 6',
      'leasehold_announcements_sent_total{vip="2001:db8::10",protocol="ndp"} 6',
    ]);
    assert.deepEqual(lines(text, "leasehold_vip_expiry_seconds"), ["leasehold_vip_expiry_seconds 3.5"]);
    assert.deepEqual(lines(text, "leasehold_lease_last_renew_timestamp_seconds"), [
      `leasehold_lease_last_renew_timestamp_seconds ${WALL_MS / 1_000 - 0.5}`,
    ]);
    assert.deepEqual(lines(text, "leasehold_listener_up"), [
      'leasehold_listener_up{listener="health"} 1',
      'leasehold_listener_up{listener="ops"} 1',
    ]);
    assert.deepEqual(lines(text, "leasehold_candidates"), ["leasehold_candidates 1"]);
    assert.deepEqual(lines(text, "leasehold_backend_up"), [
      'leasehold_backend_up{backend="192.0.2.11:6443"} 1',
    ]);
    assert.deepEqual(lines(text, "leasehold_bytes_total"), [
      'leasehold_bytes_total{backend="192.0.2.11:6443",direction="in"} 100',
      'leasehold_bytes_total{backend="192.0.2.11:6443",direction="out"} 2000',
    ]);
    assert.deepEqual(lines(text, "leasehold_check_up"), ['leasehold_check_up{check="balancer"} 1']);
    assert.deepEqual(lines(text, "leasehold_client_certificate_expiration_timestamp_seconds"), [
      `leasehold_client_certificate_expiration_timestamp_seconds{kubeconfig="admin"} ${Date.UTC(2026, 5, 1) / 1_000}`,
      `leasehold_client_certificate_expiration_timestamp_seconds{kubeconfig="own"} ${Date.UTC(2027, 0, 1) / 1_000}`,
    ]);
    assert.deepEqual(lines(text, "leasehold_client_certificate_expires_soon"), [
      'leasehold_client_certificate_expires_soon{kubeconfig="admin"} 1',
      'leasehold_client_certificate_expires_soon{kubeconfig="own"} 0',
    ]);
  });

  test("tells of the process what every Prometheus client tells, and no more of Node than its heap", async () => {
    const text = await exampleMetrics().render(exampleStatus(), WALL_MS);
    const value = (name: string): number => Number(lines(text, name)[0]?.split(" ")[1]);
    const { user, system } = process.cpuUsage();
    assert.ok(value("process_cpu_seconds_total") > 0);
    assert.ok(value("process_cpu_seconds_total") <= (user + system) / 1e6);
    assert.ok(Math.abs(value("process_start_time_seconds") - (Date.now() / 1000 - process.uptime())) < 60);
    const { rss, heapUsed } = process.memoryUsage();
    assert.ok(value("process_resident_memory_bytes") > rss / 4);
    assert.ok(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
    assert.ok(value("process_open_fds") >= 3 && value("process_open_fds") < value("process_max_fds"));
    assert.ok(value("nodejs_heap_size_used_bytes") > heapUsed / 10);
    const ofNode = text.split("\n").filter((line) => line.startsWith("nodejs_"));
    assert.equal(ofNode.length, 1);
  });

  test("tells a provisional MASTER from a confirmed one, and says what the wire does", async () => {
    const metrics = exampleMetrics();
    const confirmed = await metrics.render(exampleStatus(), WALL_MS);
    assert.deepEqual(lines(confirmed, "leasehold_confirmed"), ["leasehold_confirmed 1"]);
    metrics.holderSilent();
    metrics.addressConflict("02:00:00:00:00:99", null);
    const wire = { proof: "silent", by: "icmp", missed: 3, neighbours: false, flooded: true } as const;
    const provisional = await metrics.render(
      exampleStatus({ election: { confirmed: false }, agent: { wire } }),
      WALL_MS,
    );
    assert.deepEqual(lines(provisional, "leasehold_confirmed"), ["leasehold_confirmed 0"]);
    assert.deepEqual(lines(provisional, "leader_election_master_status"), [
      'leader_election_master_status{name="leasehold"} 0',
    ]);
    assert.deepEqual(lines(provisional, "leasehold_holder_silent_total"), [
      "leasehold_holder_silent_total 1",
    ]);
    assert.deepEqual(lines(provisional, "leasehold_address_conflicts_total"), [
      "leasehold_address_conflicts_total 1",
    ]);
    assert.deepEqual(lines(provisional, "leasehold_neighbours_heard"), ["leasehold_neighbours_heard 0"]);
    assert.deepEqual(lines(provisional, "leasehold_wire_flooded"), ["leasehold_wire_flooded 1"]);
    assert.deepEqual(lines(provisional, "leasehold_proof_ready"), ["leasehold_proof_ready 1"]);
    assert.deepEqual(lines(confirmed, "leasehold_wire_flooded"), ["leasehold_wire_flooded 0"]);
    assert.deepEqual(lines(confirmed, "leasehold_proof_ready"), [], "this node watches no holder");
    const backup = await metrics.render(
      exampleStatus({ election: { state: "BACKUP", confirmed: false }, agent: { wire: null } }),
      WALL_MS,
    );
    assert.deepEqual(lines(backup, "leasehold_confirmed"), []);
    assert.deepEqual(lines(backup, "leasehold_neighbours_heard"), []);
    assert.deepEqual(lines(backup, "leasehold_wire_flooded"), []);
  });

  test("keeps nothing of the last scrape that is no longer true", async () => {
    const metrics = exampleMetrics();
    await metrics.render(exampleStatus({ election: { faults: ["balancer"] } }), WALL_MS);
    const text = await metrics.render(
      exampleStatus({
        election: { state: "BACKUP", confirmed: false, renewedAtMs: null },
        vip: { interface: "eth1", addresses: released, validForMs: null },
        balancer: { backends: [{ ...backend, id: "192.0.2.12:6443" }] },
        agent: {
          credentials: {
            source: "none",
            expiresAt: null,
            problem: "/none: no such file",
            warning: null,
            certificates: [],
          },
        },
      }),
      WALL_MS,
    );
    assert.deepEqual(lines(text, "leader_election_master_status"), [
      'leader_election_master_status{name="leasehold"} 0',
    ]);
    assert.deepEqual(
      lines(text, "leasehold_vip_bound").map((line) =>
        line.replace(/.*vip="([^"]*)",interface="([^"]*)"/, "$1 $2"),
      ),
      ["192.0.2.10 eth1} 0", "2001:db8::10 eth1} 0"],
    );
    for (const gone of [
      "leasehold_fault",
      "leasehold_vip_expiry_seconds",
      "leasehold_lease_last_renew_timestamp_seconds",
      "leasehold_client_certificate_expiration_timestamp_seconds",
      "leasehold_client_certificate_expires_soon",
    ]) {
      assert.deepEqual(lines(text, gone), [], gone);
    }
    assert.doesNotMatch(text, /192\.0\.2\.11:6443/);
    // Totals are set anew at each scrape, not added up.
    assert.match(text, /leasehold_bytes_total\{backend="192\.0\.2\.12:6443",direction="in"\} 100\n/);
  });

  test("tell of the fast path which node gets what, and keep nothing of it that is no longer true", async () => {
    const metrics = exampleMetrics();
    const text = await metrics.render(exampleStatus({ agent: { fastPath } }), WALL_MS);
    for (const line of [
      'leasehold_fastpath_slots{peer="n1"} 600',
      'leasehold_fastpath_slots{peer="n2"} 0',
      'leasehold_fastpath_ring_member{peer="n1"} 1',
      'leasehold_fastpath_ring_member{peer="n2"} 0',
      'leasehold_fastpath_unheard{peer="n1"} 0',
      'leasehold_fastpath_unheard{peer="n2"} 1',
      'leasehold_fastpath_packets_total{peer="n2"} 20',
      'leasehold_fastpath_bytes_total{peer="n1"} 1000',
      'leasehold_fastpath_own_connections_total{backend="192.0.2.11:6443"} 9',
      "leasehold_fastpath_second_chances_total 3",
      "leasehold_fastpath_unknown_total 4",
      "leasehold_fastpath_settling_total 5",
      "leasehold_fastpath_kicked_total 6",
      "leasehold_fastpath_destroyed_total 7",
      "leasehold_fastpath_restored_total 8",
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
    assert.deepEqual(
      lines(text, "leasehold_data_plane").filter((line) => line.endsWith(" 1")),
      ['leasehold_data_plane{mode="fast-path"} 1'],
    );

    const later = await metrics.render(
      exampleStatus({ agent: { fastPath: { ...fastPath, mode: "off", nodes: [] } } }),
      WALL_MS,
    );
    assert.deepEqual(
      lines(later, "leasehold_data_plane").filter((line) => line.endsWith(" 1")),
      ['leasehold_data_plane{mode="off"} 1'],
    );
    assert.deepEqual(lines(later, "leasehold_fastpath_slots"), []);
    // Totals are set anew at each scrape, not added up.
    assert.deepEqual(lines(later, "leasehold_fastpath_restored_total"), [
      "leasehold_fastpath_restored_total 8",
    ]);
  });

  test("of a worker speak of no election", async () => {
    const text = await exampleMetrics().render(exampleStatus({ election: null, vip: null }), WALL_MS);
    assert.deepEqual(lines(text, "leader_election_master_status"), []);
    assert.deepEqual(lines(text, "leasehold_state"), []);
    assert.deepEqual(lines(text, "leasehold_balancer_listening"), ["leasehold_balancer_listening 1"]);
  });

  test("count what happened", async () => {
    const metrics = busy();
    metrics.apiRequest("192.0.2.11:6443", "WATCH", "end", 60_000);
    const text = await metrics.render(exampleStatus(), WALL_MS);
    for (const line of [
      'leasehold_transitions_total{to="MASTER",reason="lease-held"} 1',
      "leasehold_lease_renew_duration_seconds_count 1",
      'leasehold_lease_renew_errors_total{reason="no-answer"} 1',
      'leader_election_slowpath_total{name="leasehold"} 1',
      'leasehold_lease_writes_total{kind="claim",result="conflict"} 1',
      'leasehold_api_requests_total{server="192.0.2.11:6443",verb="PATCH",code="200"} 1',
      'leasehold_api_request_duration_seconds_count{server="192.0.2.11:6443",verb="PATCH"} 1',
      'leasehold_backend_checks_total{backend="192.0.2.11:6443",result="tls"} 1',
      'leasehold_failover_gap_seconds_bucket{le="0.1"} 0',
      'leasehold_failover_gap_seconds_bucket{le="0.2"} 1',
      "leasehold_announcement_errors_total 1",
      "leasehold_address_conflicts_total 1",
      'leasehold_address_conflict_info{mac="02:00:00:00:00:02",peer="n2"} 1',
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
    assert.doesNotMatch(text, /request_duration_seconds_count\{[^}]*WATCH/);
  });

  test("name the machine that last answered for the VIP, and no other one", async () => {
    const metrics = exampleMetrics();
    const shown = async () =>
      lines(await metrics.render(exampleStatus(), WALL_MS), "leasehold_address_conflict_info");
    assert.deepEqual(await shown(), [], "none has");
    for (let i = 10; i < 90; i++) metrics.addressConflict(`02:00:00:00:00:${i}`, i === 20 ? "n2" : null);
    assert.deepEqual(await shown(), ['leasehold_address_conflict_info{mac="02:00:00:00:00:89"} 1']);
    metrics.addressConflict("02:00:00:00:00:02", "n2");
    assert.deepEqual(await shown(), ['leasehold_address_conflict_info{mac="02:00:00:00:00:02",peer="n2"} 1']);
  });

  test("have codes for reasons, and never a sentence", async () => {
    const metrics = exampleMetrics();
    for (let i = 0; i < 100; i++) {
      metrics.transition("BACKUP", `node-${i} holds the Lease`);
      metrics.transition("FAULT", `what nobody has foreseen ${i}`);
      metrics.backendCheck("192.0.2.11:6443", `http: HPE_${i}`, 1);
      metrics.backendCheck("192.0.2.11:6443", `odd ${i}`, 1);
    }
    metrics.transition(
      "MASTER",
      "provisional: this node cannot renew the Lease (192.0.2.11:6443 answered 403: leases is forbidden), and no other machine claims the VIP",
    );
    metrics.backendCheck("192.0.2.11:6443", "tls answers, not verified", 1);
    const text = await metrics.render(exampleStatus(), WALL_MS);
    assert.deepEqual(lines(text, "leasehold_transitions_total"), [
      'leasehold_transitions_total{to="BACKUP",reason="other-holder"} 100',
      'leasehold_transitions_total{to="FAULT",reason="other"} 100',
      'leasehold_transitions_total{to="MASTER",reason="api-loss"} 1',
    ]);
    const results = lines(text, "leasehold_backend_checks_total");
    assert.equal(results.length, 33);
    assert.ok(
      results.includes('leasehold_backend_checks_total{backend="192.0.2.11:6443",result="http"} 100'),
    );
  });

  test("have no label with a blank, but for versions", async () => {
    const text = await busy().render(busyStatus(), WALL_MS);
    for (const [, name = "", value = ""] of text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      assert.match(value, /^[\w.:[\]/+-]+$/, `${name}="${value}"`);
  });

  test("of two agents in one process do not meet", async () => {
    const [one, other] = [exampleMetrics(), exampleMetrics()];
    one.addressConflict("02:00:00:00:00:99", null);
    assert.deepEqual(
      lines(await other.render(exampleStatus(), WALL_MS), "leasehold_address_conflicts_total"),
      ["leasehold_address_conflicts_total 0"],
    );
  });
});
