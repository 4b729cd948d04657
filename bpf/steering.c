//go:build ignore

// Fanout steering: which worker of an AF_PACKET fanout group gets a frame.
//
// The shard is computed exactly as in capture/decode without a key (decode.Shard
// and decode.Decode), so that a worker can tell whose a packet is that the kernel
// could not look into: worker = shard % workers. Both directions of
// a connection have the same shard. A packet whose TCP header can't be read
// (fragment, other protocol, malformed) goes by its addresses alone, a frame
// without IP to the worker of shard 0.
//
// One difference is intended: the jumbo payload option (RFC 2675) is not read.
// It shortens a packet, so every packet that decode takes for TCP has the same
// shard here; only packets that decode rejects as malformed may differ.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETH_P_QINQ_OLD 0x9100 // service tag before IEEE 802.1ad

#define MAX_TAGS 3        // capture.MaxTags
#define MAX_EXTENSIONS 32 // maxExtensions in capture/decode

// Values that the loader sets.
const volatile __u32 workers = 1; // rings of the fanout group, 1 to 256
const volatile __u32 raw_ip = 0;  // 1: the interface has no link-layer header

struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 src;
	__be32 dst;
};

struct ipv6 {
	__u8 version;
	__u8 flow[3];
	__be16 length;
	__u8 next;
	__u8 hop_limit;
	__be32 addresses[8]; // source, destination
};

struct tcp {
	__be16 src;
	__be16 dst;
	__be32 seq;
	__be32 ack;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct tag {
	__be16 tci;
	__be16 protocol;
};

struct extension {
	__u8 next;
	__u8 length;
	__be16 fragment; // in the fragment header
	__u8 rest[4];
};

// shard is decode.finish. words is the XOR of the address words, src and dst
// are the ports, all in host byte order.
static __always_inline __u32 shard(__u32 words, __u16 src, __u16 dst)
{
	__u32 h = words ^ ((__u32)(__u16)(src ^ dst) << 16 | (__u16)(src + dst));

	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	h ^= h >> 16;
	return h & 0xff;
}

// tcp_shard reads the TCP header at off of a packet that ends at end.
static __always_inline __u32 tcp_shard(struct __sk_buff *skb, __u32 words, __u32 off, __u32 end)
{
	struct tcp h;
	__u32 start;

	if (off + sizeof(h) > end || bpf_skb_load_bytes(skb, off, &h, sizeof(h)))
		return shard(words, 0, 0);
	start = off + (h.offset >> 4) * 4;
	if (start < off + sizeof(h) || start > end || start > skb->len)
		return shard(words, 0, 0);
	return shard(words, bpf_ntohs(h.src), bpf_ntohs(h.dst));
}

// chain_shard follows the chain of extension headers from the one of kind next
// at off, as far as a TCP header.
static __always_inline __u32 chain_shard(struct __sk_buff *skb, __u32 words, __u8 next, __u32 off,
					 __u32 end)
{
	struct extension h;

	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		__u32 size;

		if (next == IPPROTO_TCP)
			return tcp_shard(skb, words, off, end);
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_AH)
			break;
		if (off + sizeof(h) > end || bpf_skb_load_bytes(skb, off, &h, sizeof(h)))
			break;
		size = h.length * 8 + 8;
		if (next == IPPROTO_FRAGMENT) {
			if (h.fragment & bpf_htons(0xfff9)) // not an atomic fragment (RFC 6946)
				break;
			size = 8;
		} else if (next == IPPROTO_AH) {
			size = h.length * 4 + 8; // RFC 4302 section 2.2
		}
		off += size;
		if (off > end || off > skb->len)
			break;
		next = h.next;
	}
	return shard(words, 0, 0);
}

static __always_inline __u32 ipv4_shard(struct __sk_buff *skb, __u32 off)
{
	struct ipv4 h;
	__u32 words, size, length;

	if (bpf_skb_load_bytes(skb, off, &h, sizeof(h)))
		return 0;
	size = (h.version_ihl & 0x0f) * 4;
	if (h.version_ihl >> 4 != 4 || size < sizeof(h))
		return 0;
	words = bpf_ntohl(h.src ^ h.dst);
	length = bpf_ntohs(h.length);
	if (length == 0) // segmentation offload
		length = skb->len - off;
	if (length < size || h.fragment & bpf_htons(0x3fff) || off + size > skb->len)
		return shard(words, 0, 0);
	if (h.protocol == IPPROTO_TCP)
		return tcp_shard(skb, words, off + size, off + length);
	if (h.protocol == IPPROTO_AH)
		return chain_shard(skb, words, IPPROTO_AH, off + size, off + length);
	return shard(words, 0, 0);
}

static __always_inline __u32 ipv6_shard(struct __sk_buff *skb, __u32 off)
{
	struct ipv6 h;
	__u32 words = 0, length;

	if (bpf_skb_load_bytes(skb, off, &h, sizeof(h)))
		return 0;
	if (h.version >> 4 != 6)
		return 0;
	for (int i = 0; i < 8; i++)
		words ^= h.addresses[i];
	words = bpf_ntohl(words);
	off += sizeof(h);
	length = bpf_ntohs(h.length);
	if (length == 0) // jumbogram or segmentation offload
		length = skb->len - off;
	return chain_shard(skb, words, h.next, off, off + length);
}

// raw_shard reads a frame that begins with the IP header.
static __always_inline __u32 raw_shard(struct __sk_buff *skb)
{
	__u8 version;

	if (bpf_skb_load_bytes(skb, 0, &version, sizeof(version)))
		return 0;
	switch (version >> 4) {
	case 4:
		return ipv4_shard(skb, 0);
	case 6:
		return ipv6_shard(skb, 0);
	}
	return 0;
}

// ethernet_shard reads an Ethernet frame.
//
// In a fanout program skb->data stands behind the link-layer header for a frame
// that comes in, whose EtherType is in skb->protocol, and at the link-layer
// header for a frame that goes out. There skb->protocol and the network header
// are what the sender says they are, so the frame's own octets are read.
static __always_inline __u32 ethernet_shard(struct __sk_buff *skb)
{
	__be16 protocol = skb->protocol;
	__u32 off = 0, tags = skb->vlan_present;

	if (skb->pkt_type == PACKET_OUTGOING) {
		if (bpf_skb_load_bytes(skb, offsetof(struct ethhdr, h_proto), &protocol, sizeof(protocol)))
			return 0;
		off = ETH_HLEN;
	}
	for (int i = 0; i <= MAX_TAGS; i++) {
		struct tag t;

		switch (protocol) {
		case bpf_htons(ETH_P_IP):
			return ipv4_shard(skb, off);
		case bpf_htons(ETH_P_IPV6):
			return ipv6_shard(skb, off);
		case bpf_htons(ETH_P_8021Q):
		case bpf_htons(ETH_P_8021AD):
		case bpf_htons(ETH_P_QINQ_OLD):
			break;
		default:
			return 0;
		}
		if (tags == MAX_TAGS || bpf_skb_load_bytes(skb, off, &t, sizeof(t)))
			return 0;
		protocol = t.protocol;
		off += sizeof(t);
		tags++;
	}
	return 0;
}

SEC("socket")
int steer(struct __sk_buff *skb)
{
	__u32 s = raw_ip ? raw_shard(skb) : ethernet_shard(skb);

	return workers ? s % workers : 0;
}

char _license[] SEC("license") = "Apache-2.0";
