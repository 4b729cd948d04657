// Package nftables refuses the connections of clients in the kernel of the host that
// offpath runs on: for load balancers that have nothing to take verdicts with, or attacks
// that are too many for them. Linux 5.12 or later; the capability CAP_NET_ADMIN.
//
// All it keeps is in the table "inet offpath" of the network namespace it runs in:
//
//   - per length of prefix in use and family a set of addresses that are refused, such as
//     refuse_ipv4_32 or refuse_ipv6_64, and one of those only watched (watch_…). They are
//     hashes: a packet costs one look-up per set, networks may overlap, and one more
//     verdict costs the same however many there are. An element has the verdict's id as
//     its comment, its own timeout, so that the kernel ends it with the controller dead,
//     and a counter;
//   - the sets allow_ipv4 and allow_ipv6, which win, and ports, of the operator's choice:
//     nothing else is touched;
//   - the chain guard, where packets come in (prerouting, before destination NAT). Its two
//     rules, TCP and UDP, jump to the chain enforce or monitor: that is the mode, and
//     changes in one transaction of the kernel whatever the number of elements. Without
//     them, without the table, it is off;
//   - the set off, for a person: `nft add element inet offpath off '{ tcp, udp }'` lets
//     everything of these protocols pass at once, until it is deleted or `offpath on`.
//
// A refused packet is answered with a TCP reset, or ICMP port unreachable (HTTP/3). There
// is no status and no marker: the witness sees the client gone, not refused. TCP resets of
// refused clients pass, so that the server's side of a connection ends.
//
// It carries blocks of an address or network, and nothing else: a tag or a marker needs
// HTTP; a limit of requests can't be told from packets. The client is the peer of the
// connection. What comes by way of a proxy in front of this host is not recognised, and
// what is only watched is counted, not tagged for the backend. Counters count packets:
// refused, about one for each attempt to connect; watched, many. What is counted between
// two readings falls to the mode of the second.
//
// Orders go in batches, each of them a transaction on a socket of its own. Whether
// somebody else changed the table, the kernel's generation number tells: then rules and
// number of elements are looked at, at most every few seconds and for a twentieth of the
// time; if anything is missing, the identity changes, and all is put back. Counters are
// read for no more of the time than that.
package nftables
