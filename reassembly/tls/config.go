package tls

import (
	"fmt"
	"time"

	"offpath/reassembly/tls/keylog"
)

// Config says what to decrypt with, and bounds a Reader. Without secrets hellos
// are read and nothing is decrypted.
type Config struct {
	// Secrets are those of key logs; nil: there are none. Workers share it.
	Secrets *keylog.Store
	// Complete says that Secrets will not grow: what is not there when it is
	// needed is not waited for.
	Complete bool
	// Keys are the private keys of servers whose clients may use RSA key
	// exchange; nil: there are none. Workers share it.
	Keys *ServerKeys
	// Sessions remembers master secrets for resumption up to TLS 1.2, which the
	// RSA exchange does not come with; nil: resumed connections need a key log.
	// Workers share it.
	Sessions *Sessions
	// Hold is how many octets of records a connection may hold while its secret
	// has not come; those beyond it are lost. Default 256 KiB.
	Hold int
	// Wait is the event time after which a secret is not waited for any more.
	// Default 10 s.
	Wait time.Duration
}

func (c *Config) validate() error {
	switch {
	case c.Hold < 0:
		return fmt.Errorf("hold of %d octets is negative", c.Hold)
	case c.Wait < 0:
		return fmt.Errorf("wait of %v is negative", c.Wait)
	}
	if c.Hold == 0 {
		c.Hold = 256 << 10
	}
	if c.Wait == 0 {
		c.Wait = 10 * time.Second
	}
	return nil
}

// Budget is where the octets are charged that connections keep: parts of records
// and hellos, and records that wait for their secret.
type Budget interface {
	Take(octets int) bool // false: there are not as many
	Give(octets int)      // takes back what was taken
}
