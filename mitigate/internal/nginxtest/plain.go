package nginxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginxfile"
)

// Plain is an nginx without any module, with the rules of package nginxfile, its backend
// and the folder that verdicts are written to.
type Plain struct {
	instance
	Address string // of the server that says what is in force
	Folder  string // that is written to
	PIDFile string
	Program string
	URL     string // of the protected site, HTTP/1
	H2      string // HOST:PORT of it, HTTP/2 without TLS
	Backend *targettest.Backend
	Parts   nginxfile.Config // of its configuration
}

// StartPlain runs nginx with the setup, of which address, folder and pid file are filled in.
func StartPlain(t testing.TB, setup nginxfile.Setup) *Plain {
	t.Helper()
	program := targettest.Program(t, "nginx")
	s := &Plain{instance: newInstance(t, program), Program: program, Backend: targettest.NewBackend(t)}
	s.Folder, s.PIDFile = filepath.Join(s.Dir, "offpath"), filepath.Join(s.Dir, "pid")
	require.NoError(t, os.Mkdir(s.Folder, 0o755))
	require.NoError(t, os.Chmod(s.Folder, 0o755))
	ports := targettest.FreePorts(t, 3)
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	s.Address = fmt.Sprintf("tcp:127.0.0.1:%d", ports[1])
	s.H2 = fmt.Sprintf("127.0.0.1:%d", ports[2])
	setup.Address, setup.Dir, setup.PIDFile = s.Address, s.Folder, s.PIDFile
	var err error
	s.Parts, err = setup.Render()
	require.NoError(t, err)
	s.Configure(s.preamble() + s.Parts.HTTP + s.Parts.Status + `
server {
    listen ` + strings.TrimPrefix(s.URL, "http://") + `;
    listen ` + s.H2 + ` http2;
` + s.Parts.Server + s.Parts.Location + `
    location / { proxy_pass http://` + s.Backend.Address + `; }
    # A location with lines of its own needs part 4 too.
    location /own/ {
        add_header X-Own 1;
        proxy_set_header X-Own 1;
` + s.Parts.Location + `
        proxy_pass http://` + s.Backend.Address + `;
    }
}
}
`)
	t.Cleanup(s.Down)
	s.Up()
	return s
}

// Up starts nginx and waits until it answers.
func (s *Plain) Up() {
	s.t.Helper()
	s.start()
	s.await("tcp", strings.TrimPrefix(s.URL, "http://"))
	s.awaitWorkers()
}

// PID is that of the master.
func (s *Plain) PID() int { return s.process.cmd.Process.Pid }
