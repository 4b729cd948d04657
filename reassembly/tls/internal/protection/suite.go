package protection

import (
	"crypto"
	_ "crypto/md5"    // for crypto.MD5
	_ "crypto/sha1"   // for crypto.SHA1
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384
)

type bulk uint8

const (
	gcm bulk = iota
	ccm
	ccm8
	chacha
	aesCBC
	tripleDES
	rc4Stream
)

// Suite is a cipher suite, as far as records and key derivation go.
type Suite struct {
	Hash  crypto.Hash // of the PRF since TLS 1.2, of HKDF in TLS 1.3
	RSA   bool        // the premaster secret is encrypted for the server's RSA key
	TLS13 bool        // of TLS 1.3

	bulk bulk
	key  int         // octets
	mac  crypto.Hash // of CBC and stream suites
}

// Cost is what an Opener takes of memory at most, with the secret that it is made
// of, in octets.
func (s *Suite) Cost() int {
	switch s.bulk {
	case rc4Stream:
		return 3 << 10
	case aesCBC, tripleDES:
		return 9 << 8
	}
	return 9 << 7
}

// ByID returns the suite with a number of the IANA registry TLS Cipher Suites;
// ok is false if records under it can't be opened.
func ByID(id uint16) (s Suite, ok bool) {
	switch id {
	case 0x1301:
		s = Suite{Hash: crypto.SHA256, bulk: gcm, key: 16, TLS13: true}
	case 0x1302:
		s = Suite{Hash: crypto.SHA384, bulk: gcm, key: 32, TLS13: true}
	case 0x1303:
		s = Suite{Hash: crypto.SHA256, bulk: chacha, key: 32, TLS13: true}
	case 0x1304:
		s = Suite{Hash: crypto.SHA256, bulk: ccm, key: 16, TLS13: true}
	case 0x1305:
		s = Suite{Hash: crypto.SHA256, bulk: ccm8, key: 16, TLS13: true}

	// AES_128_GCM_SHA256
	case 0x009c, 0x009e, 0x00a0, 0x00a2, 0x00a4, 0x00a6, 0x00a8, 0x00aa, 0x00ac,
		0xc02b, 0xc02d, 0xc02f, 0xc031, 0xd001:
		s = Suite{Hash: crypto.SHA256, bulk: gcm, key: 16}
	// AES_256_GCM_SHA384
	case 0x009d, 0x009f, 0x00a1, 0x00a3, 0x00a5, 0x00a7, 0x00a9, 0x00ab, 0x00ad,
		0xc02c, 0xc02e, 0xc030, 0xc032, 0xd002:
		s = Suite{Hash: crypto.SHA384, bulk: gcm, key: 32}
	// AES_128_CCM
	case 0xc09c, 0xc09e, 0xc0a4, 0xc0a6, 0xc0ac, 0xd005:
		s = Suite{Hash: crypto.SHA256, bulk: ccm, key: 16}
	// AES_256_CCM
	case 0xc09d, 0xc09f, 0xc0a5, 0xc0a7, 0xc0ad:
		s = Suite{Hash: crypto.SHA256, bulk: ccm, key: 32}
	// AES_128_CCM_8
	case 0xc0a0, 0xc0a2, 0xc0a8, 0xc0aa, 0xc0ae, 0xd003:
		s = Suite{Hash: crypto.SHA256, bulk: ccm8, key: 16}
	// AES_256_CCM_8
	case 0xc0a1, 0xc0a3, 0xc0a9, 0xc0ab, 0xc0af:
		s = Suite{Hash: crypto.SHA256, bulk: ccm8, key: 32}
	// CHACHA20_POLY1305_SHA256
	case 0xcca8, 0xcca9, 0xccaa, 0xccab, 0xccac, 0xccad, 0xccae:
		s = Suite{Hash: crypto.SHA256, bulk: chacha, key: 32}

	// AES_128_CBC_SHA
	case 0x002f, 0x0030, 0x0031, 0x0032, 0x0033, 0x0034, 0x008c, 0x0090, 0x0094,
		0xc004, 0xc009, 0xc00e, 0xc013, 0xc018, 0xc01d, 0xc01e, 0xc01f, 0xc035:
		s = Suite{Hash: crypto.SHA256, bulk: aesCBC, key: 16, mac: crypto.SHA1}
	// AES_256_CBC_SHA
	case 0x0035, 0x0036, 0x0037, 0x0038, 0x0039, 0x003a, 0x008d, 0x0091, 0x0095,
		0xc005, 0xc00a, 0xc00f, 0xc014, 0xc019, 0xc020, 0xc021, 0xc022, 0xc036:
		s = Suite{Hash: crypto.SHA256, bulk: aesCBC, key: 32, mac: crypto.SHA1}
	// AES_128_CBC_SHA256
	case 0x003c, 0x003e, 0x003f, 0x0040, 0x0067, 0x006c, 0x00ae, 0x00b2, 0x00b6,
		0xc023, 0xc025, 0xc027, 0xc029, 0xc037:
		s = Suite{Hash: crypto.SHA256, bulk: aesCBC, key: 16, mac: crypto.SHA256}
	// AES_256_CBC_SHA256
	case 0x003d, 0x0068, 0x0069, 0x006a, 0x006b, 0x006d:
		s = Suite{Hash: crypto.SHA256, bulk: aesCBC, key: 32, mac: crypto.SHA256}
	// AES_256_CBC_SHA384
	case 0x00af, 0x00b3, 0x00b7, 0xc024, 0xc026, 0xc028, 0xc02a, 0xc038:
		s = Suite{Hash: crypto.SHA384, bulk: aesCBC, key: 32, mac: crypto.SHA384}
	// 3DES_EDE_CBC_SHA
	case 0x000a, 0x000d, 0x0010, 0x0013, 0x0016, 0x001b, 0x008b, 0x008f, 0x0093,
		0xc003, 0xc008, 0xc00d, 0xc012, 0xc017, 0xc01a, 0xc01b, 0xc01c, 0xc034:
		s = Suite{Hash: crypto.SHA256, bulk: tripleDES, key: 24, mac: crypto.SHA1}
	// RC4_128_MD5
	case 0x0004, 0x0018:
		s = Suite{Hash: crypto.SHA256, bulk: rc4Stream, key: 16, mac: crypto.MD5}
	// RC4_128_SHA
	case 0x0005, 0x008a, 0x008e, 0x0092, 0xc002, 0xc007, 0xc00c, 0xc011, 0xc016, 0xc033:
		s = Suite{Hash: crypto.SHA256, bulk: rc4Stream, key: 16, mac: crypto.SHA1}
	default:
		return Suite{}, false
	}
	switch id {
	case 0x0004, 0x0005, 0x000a, 0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d, 0xc09c, 0xc09d, 0xc0a0, 0xc0a1:
		s.RSA = true
	}
	return s, true
}
