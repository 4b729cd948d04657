// Package network says whose network an address is in: number and organisation of
// the autonomous system, and country, from databases in MaxMind's format (MMDB) that
// the operator names. Databases with the fields of GeoLite2-ASN and GeoLite2-Country
// are understood (autonomous_system_number, autonomous_system_organization,
// country.iso_code); MaxMind, DB-IP and others write them.
//
// A database is read into memory whole when it is opened, and not looked at again: a
// file that is replaced meanwhile takes effect when it is opened anew (SIGHUP does).
// The answer depends on the databases and the address alone.
//
// Answers are remembered by /24 and /48 in a table of fixed size, where a new one
// takes the place of the old; an answer that does not hold for the whole of such a
// network is looked up every time. Damaged records are counted and say nothing. A
// [Database] belongs to one goroutine.
//
// It does not find out where a person is, and no verdict rests on it alone.
package network

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Info is what is known of an address's network; the zero value is nothing.
type Info struct {
	AS           uint32 // number of the autonomous system; 0: unknown
	Organisation string // that runs it; at most 128 octets of UTF-8
	Country      string // ISO 3166-1 alpha-2, upper case; of the network, not of a person
}

// String is for people: "AS64500 Example Net, NL"; "" if nothing is known.
func (i Info) String() string {
	var parts []string
	if i.AS != 0 {
		parts = append(parts, strings.TrimSpace("AS"+strconv.FormatUint(uint64(i.AS), 10)+" "+i.Organisation))
	}
	if i.Country != "" {
		parts = append(parts, i.Country)
	}
	return strings.Join(parts, ", ")
}

// Paths names the files; "" is none.
type Paths struct {
	AS      string // autonomous systems
	Country string
}

// Stats are the books of a Database. All only grow.
type Stats struct {
	Lookups  uint64 // addresses asked for
	Hits     uint64 // of these, answered from memory
	Replaced uint64 // answers that had to make room for another
	Damaged  uint64 // records that could not be read
}

// Bounds.
const (
	maxFile         = 1 << 30 // octets of a file
	maxOrganisation = 128     // octets
	slots           = 1 << 14 // answers remembered
	sampled         = 1 << 12 // networks that are looked at for the field that a database must have
)

// Database answers for addresses.
type Database struct {
	as, country *maxminddb.Reader // nil: none
	slots       []slot
	stats       Stats
}

type asRecord struct {
	Number       uint32 `maxminddb:"autonomous_system_number"`
	Organisation string `maxminddb:"autonomous_system_organization"`
}

type countryRecord struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
}

// slot is an answer and the network for all of which it holds.
type slot struct {
	of   netip.Prefix
	info Info
}

// FileError says what is wrong with a file.
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string { return e.Path + " " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *FileError) Unwrap() error { return e.Err }

// Open reads the databases. The error is a *FileError, the sentence that its path
// begins. Of no paths it makes a Database that knows nothing.
func Open(p Paths) (*Database, error) {
	as, err := open(p.AS, "autonomous_system_number")
	if err != nil {
		return nil, err
	}
	country, err := open(p.Country, "country", "iso_code")
	if err != nil {
		return nil, err
	}
	d := &Database{as: as, country: country}
	if as != nil || country != nil {
		d.slots = make([]slot, slots)
	}
	return d, nil
}

// open reads a file in which some network has a field.
func open(path string, field ...any) (*maxminddb.Reader, error) {
	if path == "" {
		return nil, nil
	}
	octets, err := read(path)
	if err != nil {
		return nil, &FileError{path, err}
	}
	r, err := maxminddb.OpenBytes(octets)
	if err != nil {
		return nil, &FileError{path, fmt.Errorf("is no MMDB database: %w", err)}
	}
	looked := 0
	for result := range r.Networks() {
		var value any
		if err := result.DecodePath(&value, field...); err != nil {
			return nil, &FileError{path, fmt.Errorf("has other records than one of %s: %w", purpose[field[0]], err)}
		}
		if value != nil {
			return r, nil
		}
		if looked++; looked == sampled {
			break
		}
	}
	return nil, &FileError{path, fmt.Errorf("has no %s: it is a database of the type %q, not one of %s",
		dotted(field), r.Metadata.DatabaseType, purpose[field[0]])}
}

// purpose is what databases with a field are for.
var purpose = map[any]string{"autonomous_system_number": "autonomous systems", "country": "countries"}

func dotted(field []any) string {
	var parts []string
	for _, part := range field {
		parts = append(parts, fmt.Sprint(part))
	}
	return strings.Join(parts, ".")
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("can't be opened: %w", cause(err))
	}
	defer f.Close()
	octets, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("can't be read: %w", cause(err))
	case len(octets) > maxFile:
		return nil, fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	return octets, nil
}

// cause is the error without operation and path.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Verify reads every record of the databases, which takes seconds, and names the
// first that is damaged.
func (d *Database) Verify() error {
	for _, r := range [...]*maxminddb.Reader{d.as, d.country} {
		if r == nil {
			continue
		}
		for result := range r.Networks() {
			var as asRecord
			var country countryRecord
			if err := errors.Join(result.Decode(&as), result.Decode(&country)); err != nil {
				return fmt.Errorf("%s: record of %v: %w", r.Metadata.DatabaseType, result.Prefix(), err)
			}
		}
	}
	return nil
}

// Types says which databases there are.
func (d *Database) Types() []string {
	var types []string
	for _, r := range [...]*maxminddb.Reader{d.as, d.country} {
		if r != nil {
			types = append(types, r.Metadata.DatabaseType)
		}
	}
	return types
}

// Lookup returns what is known of an address. An IPv4-mapped one is the IPv4 one.
func (d *Database) Lookup(a netip.Addr) Info {
	a = a.Unmap().WithZone("")
	return d.Of(netip.PrefixFrom(a, a.BitLen()))
}

// Of returns what is known of all addresses of a network.
func (d *Database) Of(p netip.Prefix) Info {
	if !p.IsValid() || d.slots == nil {
		return Info{}
	}
	d.stats.Lookups++
	around := neighbours(p.Addr())
	s := &d.slots[place(around.Addr())]
	if s.of == around && p.Bits() >= around.Bits() {
		d.stats.Hits++
		return s.info
	}
	info, least := Info{}, 0 // the smallest network that the answers are about
	var as asRecord
	if bits, ok := d.look(d.as, p, &as); ok {
		info.AS, info.Organisation = as.Number, trimmed(as.Organisation)
		least = max(least, bits)
	} else {
		least = p.Addr().BitLen()
	}
	var of countryRecord
	if bits, ok := d.look(d.country, p, &of); ok {
		if c := of.Country.Code; len(c) == 2 && isUpper(c[0]) && isUpper(c[1]) {
			info.Country = strings.Clone(c)
		}
		least = max(least, bits)
	} else {
		least = p.Addr().BitLen()
	}
	if least <= around.Bits() && p.Bits() >= around.Bits() {
		if s.of.IsValid() {
			d.stats.Replaced++
		}
		*s = slot{around, info}
	}
	return info
}

// look reads the record of a network, and returns the length of the prefix that it
// is about; false if it can't be read, or is not about the whole network.
func (d *Database) look(r *maxminddb.Reader, p netip.Prefix, record any) (bits int, ok bool) {
	if r == nil || p.Addr().Is6() && r.Metadata.IPVersion == 4 {
		return 0, true
	}
	result := r.Lookup(p.Addr())
	if err := result.Decode(record); err != nil {
		d.stats.Damaged++
		return 0, false
	}
	bits = result.Prefix().Bits()
	return bits, bits <= p.Bits()
}

// Stats returns the books.
func (d *Database) Stats() Stats { return d.stats }

// neighbours is the network whose addresses share an answer as a rule.
func neighbours(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits) // there are as many
	return p
}

// place is the slot of a network.
func place(a netip.Addr) uint64 {
	b := a.As16()
	var h uint64
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x9e3779b97f4a7c15
	}
	return h >> 32 % slots
}

// trimmed is an organisation's name within its bounds, as text.
func trimmed(name string) string {
	name = strings.ToValidUTF8(name, "")
	for len(name) > maxOrganisation {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return strings.Clone(name)
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
