package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// A portsFile says which addresses are in use, for a script that had a free port picked.
// It is there while the server is.
type portsFile struct {
	path    string
	content []byte
}

// writePortsFile writes it. The file is there as a whole or not at all.
func writePortsFile(path string, addrs, http, more []net.Addr) (*portsFile, error) {
	texts := func(addrs []net.Addr) []string {
		all := make([]string, len(addrs))
		for i, a := range addrs {
			all[i] = a.String()
		}
		return all
	}
	ports := struct {
		PID       int      `json:"pid"`
		STOMP     int      `json:"stomp"`
		HTTP      int      `json:"http,omitempty"`
		Addresses []string `json:"addresses"`
		Listeners []string `json:"listeners,omitempty"` // addresses of the setting listeners
	}{PID: os.Getpid(), STOMP: port(addrs), Addresses: texts(addrs), Listeners: texts(more)}
	if len(http) > 0 {
		ports.HTTP = port(http)
	}
	content, err := json.Marshal(ports)
	if err != nil {
		return nil, err
	}
	p := &portsFile{path, append(content, '\n')}
	if err := p.write(); err != nil {
		return nil, fmt.Errorf("cannot write the ports file %s: %w", path, fileCause(err))
	}
	return p, nil
}

func (p *portsFile) write() error {
	tmp, err := os.CreateTemp(filepath.Dir(p.path), ".ports-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(p.content)
	if e := tmp.Chmod(0o644); err == nil {
		err = e
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), p.path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// remove takes the file away, unless another server has written its own there. A nil one is
// none.
func (p *portsFile) remove() {
	if p == nil {
		return
	}
	if now, err := os.ReadFile(p.path); err == nil && bytes.Equal(now, p.content) {
		_ = os.Remove(p.path)
	}
}

// fileCause is err without the operation and the paths that os puts around it.
func fileCause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
