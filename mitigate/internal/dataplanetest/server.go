package dataplanetest

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/dataplane"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
)

// User and Password of every API here.
const (
	User     = "offpath"
	Password = "correct horse"
)

// Server is an HAProxy with the printed configuration and the API in front of it.
type Server struct {
	*haproxytest.Server
	API     *API
	Address string // of the API, on a server of its own
}

// Start runs both. The setup's folder is filled in.
func Start(t testing.TB, setup dataplane.Setup, version int) *Server {
	t.Helper()
	s := haproxytest.New(t, haproxy.Setup{})
	setup.MapDir = filepath.Join(s.Dir, "maps")
	require.NoError(t, os.Mkdir(setup.MapDir, 0o700))
	config, err := setup.Render()
	require.NoError(t, err)
	for _, file := range config.Files {
		require.NoError(t, os.WriteFile(file, nil, 0o600))
	}
	require.NoError(t, os.WriteFile(config.ScriptFile, []byte(config.Script), 0o600))
	if config.DeceptionFile != "" {
		require.NoError(t, os.WriteFile(config.DeceptionFile, []byte(haproxytest.Deception), 0o600))
	}
	socket := strings.TrimPrefix(s.Socket, "unix:")
	s.Configure("global\n    stats socket " + socket + " mode 600 level admin\n    stats timeout 2m\n" + config.Global +
		"defaults\n    mode http\n    timeout connect 2s\n    timeout client 10s\n    timeout server 10s\n" +
		config.Sections +
		"frontend bank\n    bind " + strings.TrimPrefix(s.URL, "http://") + "\n" +
		config.Rules +
		"    default_backend bank\nbackend bank\n    server bank " + s.Backend().Address + "\n")
	s.Up()
	s.MapDir = setup.MapDir
	api := New(t, Options{Socket: socket, MapsDir: setup.MapDir, Version: version, User: User, Password: Password})
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return &Server{Server: s, API: api, Address: server.URL}
}

// Held is what HAProxy has in a map.
func (s *Server) Held(t testing.TB, name string) map[string]string {
	t.Helper()
	list, err := s.API.entries(filepath.Join(s.MapDir, name+".map"))
	require.NoError(t, err)
	lines := make(map[string]string)
	for _, e := range list {
		if _, there := lines[e.Key]; !there {
			lines[e.Key] = e.Value
		}
	}
	return lines
}
