package tls

// Status is how far a connection has come.
type Status uint8

// The states.
const (
	Hellos     Status = iota // hellos are being read
	Waiting                  // records wait for a secret, or for the server's hello
	Decrypting               // plaintext comes
	Opaque                   // nothing more is to be learnt; see Conn.Reason
	Closed                   // both directions have said their last
)

var statusNames = [...]string{"hellos", "waiting", "decrypting", "opaque", "closed"}

// String returns the name used in metrics.
func (s Status) String() string { return statusNames[s] }

// Reason says why a connection is Opaque.
type Reason uint8

// The reasons.
const (
	ReasonNone        Reason = iota
	ReasonNoSecret           // its secret is not there, and did not come in time
	ReasonMidstream          // joined after its start
	ReasonHelloLost          // octets of a hello are missing
	ReasonVersion            // SSL 3.0 or older, a draft of TLS 1.3, or unknown
	ReasonSuite              // a cipher suite that can't be decrypted
	ReasonCompression        // compressed records (RFC 3749)
	ReasonWrongSecret        // no record authenticates
	ReasonGap                // too much is missing to find the way again
	ReasonBudget             // no room to keep a hello
	ReasonProtocol           // not the order or form of TLS
	ReasonAlert              // the handshake failed

	// Reasons is their number.
	Reasons int = iota
)

var reasonNames = [Reasons]string{
	"none", "no_secret", "midstream", "hello_lost", "version", "suite", "compression",
	"wrong_secret", "gap", "budget", "protocol", "alert",
}

// String returns the name used in metrics.
func (r Reason) String() string { return reasonNames[r] }

// Stats are the books of a Reader's connections. All only grow, but for Held.
type Stats struct {
	ClientHellos   uint64 // first ones
	ServerHellos   uint64
	Malformed      uint64 // hellos that could not be read to their end
	Decrypted      uint64 // connections of which a record was opened
	SecretsFound   uint64 // connections whose secrets were found
	SecretsLate    uint64 // of these, after records had waited
	RSADecryptions uint64 // premaster secrets decrypted with a server's key
	SessionsFound  uint64 // resumptions of sessions that were remembered
	KeyUpdates     uint64

	Records      uint64          // protected ones opened
	PlainOctets  uint64          // of application data, authenticated
	Unopened     uint64          // protected records that did not authenticate
	LostRecords  uint64          // whose octets are missing, as far as known
	Recovered    uint64          // times that the way was found again after missing octets
	Skipped      uint64          // records passed over on the way to one that authenticates
	SoughtOctets uint64          // passed over while looking for a record
	Unprotected  uint64          // records that should have been protected, ignored
	HoldLost     uint64          // records that found no room to wait
	BudgetLost   uint64          // records that came in parts and found no room
	GivenUp      uint64          // directions given up while the other went on
	Opaque       [Reasons]uint64 // connections given up, by reason
	Held         uint64          // octets that wait now
}

// Add adds o to s.
func (s *Stats) Add(o *Stats) {
	s.ClientHellos += o.ClientHellos
	s.ServerHellos += o.ServerHellos
	s.Malformed += o.Malformed
	s.Decrypted += o.Decrypted
	s.SecretsFound += o.SecretsFound
	s.SecretsLate += o.SecretsLate
	s.RSADecryptions += o.RSADecryptions
	s.SessionsFound += o.SessionsFound
	s.KeyUpdates += o.KeyUpdates
	s.Records += o.Records
	s.PlainOctets += o.PlainOctets
	s.Unopened += o.Unopened
	s.LostRecords += o.LostRecords
	s.Recovered += o.Recovered
	s.Skipped += o.Skipped
	s.SoughtOctets += o.SoughtOctets
	s.Unprotected += o.Unprotected
	s.HoldLost += o.HoldLost
	s.BudgetLost += o.BudgetLost
	s.GivenUp += o.GivenUp
	for i := range s.Opaque {
		s.Opaque[i] += o.Opaque[i]
	}
	s.Held += o.Held
}
