package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"stompserver"
	"stompserver/internal/auth"
)

// A permissionsCommand answers what users may do by the configuration. It needs no server.
type permissionsCommand struct {
	g *globals

	config    string // --config
	client    string // --client-id
	vhost     string // --vhost
	anonymous bool   // --anonymous

	ctx context.Context // of the command
}

func newPermissionsCommand(g *globals) *cobra.Command {
	p := &permissionsCommand{g: g}
	cmd := &cobra.Command{
		Use:   "permissions",
		Short: "Tell what users may do",
		Long: `Tell what users may do by the configuration file and the environment.

The rules are those of users, roles and anonymous.allow. With ldap.groups the directory is asked for the roles of USER,
as long as the password file has none of that name; what a token says of its user is not known here.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("permissions needs a word more: check or list")
			}
			return fmt.Errorf("permissions %s is not known: it takes check and list", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // Args lets nothing pass
	}
	f := cmd.PersistentFlags()
	f.StringVarP(&p.config, "config", "C", "", "the configuration `file` (default stompserver.conf)")
	f.StringVar(&p.client, "client-id", "", "the `header` client-id of the user's CONNECT")
	f.StringVar(&p.vhost, "vhost", "", "the virtual `host` that the user is in, by its name or an alias (default the default one)")
	f.BoolVar(&p.anonymous, "anonymous", false, "a client without a login, in place of USER")
	f.BoolVar(&g.JSON, "json", g.JSON, "print JSON, one object a line")

	user := func(n int) cobra.PositionalArgs {
		return func(cmd *cobra.Command, args []string) error {
			if p.anonymous {
				return words(n-1, n-1)(cmd, args)
			}
			return words(n, n)(cmd, args)
		}
	}
	check := &cobra.Command{
		Use:   "check USER ACTION DESTINATION",
		Short: "Tell whether a user may do something (exit code 0, else 77)",
		Long: `Tell whether a user may do something, and by which rule (exit code 0, else 77).

ACTION is read, write, consume, browse, create, destroy or *; read is consume and browse.
DESTINATION is in any spelling, and may be a pattern or several with commas between.`,
		Args: user(3),
		RunE: p.run(p.check),
	}
	list := &cobra.Command{
		Use:   "list USER",
		Short: "List the rules in force for a user, in their order",
		Args:  user(1),
		RunE:  p.run(p.list),
	}
	check.Flags().BoolVar(&g.Quiet, "quiet", g.Quiet, "print errors only")
	cmd.AddCommand(check, list)
	return cmd
}

func (p *permissionsCommand) run(do func(args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		p.ctx = cmd.Context()
		return do(args)
	}
}

// directoryError puts the exit code to what the directory of users says.
func directoryError(user string, err error) error {
	switch {
	case errors.Is(err, auth.ErrDenied):
		return &exitError{exitRefused, fmt.Errorf("neither the password file nor the directory has a user %s", show(user))}
	case errors.Is(err, auth.ErrAway):
		return &exitError{exitUnavailable, err}
	}
	return &exitError{exitConfig, err}
}

// asked reads the configuration and takes USER off args.
func (p *permissionsCommand) asked(args []string) (stompserver.Config, stompserver.Asked, []string, error) {
	s, err := load(stompserver.LoadOptions{File: p.config, Env: os.Environ()})
	if err != nil {
		return stompserver.Config{}, stompserver.Asked{}, nil, err
	}
	if !s.Config.Auth && !p.g.Quiet {
		fmt.Fprintln(p.g.Stderr, "stompserver: note: auth is off: everybody may do everything")
	}
	who := stompserver.Asked{Anonymous: p.anonymous, ClientID: p.client}
	if p.vhost != "" {
		var ok bool
		if who.VHost, ok = s.Config.VHosts.Named(p.vhost); !ok {
			return stompserver.Config{}, stompserver.Asked{}, nil, usageError("--vhost: there is no virtual host %s in vhosts.list", show(p.vhost))
		}
	}
	if !p.anonymous {
		who.User, args = args[0], args[1:]
		if who.Roles, err = s.Config.UserRoles(p.ctx, who.User); err != nil {
			return stompserver.Config{}, who, nil, directoryError(who.User, err)
		}
		if !p.g.Quiet && !s.Config.Knows(who.User) {
			fmt.Fprintf(p.g.Stderr, "stompserver: note: neither users nor the password file has a user %s, who so cannot log in\n", show(who.User))
		}
	}
	return s.Config, who, args, nil
}

func (p *permissionsCommand) check(args []string) error {
	cfg, who, args, err := p.asked(args)
	if err != nil {
		return err
	}
	v, err := cfg.May(who, args[0], args[1])
	if err != nil {
		return usageError("%v", err)
	}
	name := "the user " + show(who.User)
	if who.Anonymous {
		name = "a client without a login"
	}
	by := "by " + v.By
	switch {
	case v.By == "" && v.Allowed:
		by = "nothing says otherwise"
	case v.By == "":
		by = "no rule allows it"
	}
	switch {
	case p.g.JSON:
		if err := json.NewEncoder(p.g.Stdout).Encode(struct {
			Allowed bool   `json:"allowed"`
			By      string `json:"by,omitempty"`
		}{v.Allowed, v.By}); err != nil {
			return &exitError{exitIO, err}
		}
	case p.g.Quiet:
	case v.Allowed:
		fmt.Fprintf(p.g.Stdout, "allowed: %s may %s %s: %s\n", name, args[0], show(args[1]), by)
	default:
		fmt.Fprintf(p.g.Stdout, "denied: %s may not %s %s: %s\n", name, args[0], show(args[1]), by)
	}
	if !v.Allowed {
		return &exitError{exitRefused, nil}
	}
	return nil
}

func (p *permissionsCommand) list(args []string) error {
	cfg, who, _, err := p.asked(args)
	if err != nil {
		return err
	}
	rules, err := cfg.Rules(who)
	if err != nil {
		return &exitError{exitConfig, err}
	}
	for _, r := range rules {
		if p.g.JSON {
			err = json.NewEncoder(p.g.Stdout).Encode(struct {
				Rule string `json:"rule"`
			}{r})
		} else {
			_, err = fmt.Fprintln(p.g.Stdout, r)
		}
		if err != nil {
			return &exitError{exitIO, err}
		}
	}
	return nil
}
