package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
)

func rpcServerCommand() *cli.Command {
	return &cli.Command{
		Name: "rpc-server", Usage: "let an ivo on another machine compute on this one, by --rpc",
		Description: "One program at a time, of the same llama.cpp, keeps a part of its model here. Whoever reaches the server\n" +
			"may run what they like on this machine: never use it on an open network.\n\nExamples:\n\n" +
			"  ivo rpc-server --listen 192.168.1.5:50052\n  ivo generate -m model.gguf --rpc 192.168.1.5:50052 -p 'Once'    on the other machine",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "IPv4 `ADDRESS` to listen at; port 0 for a free one", Value: "127.0.0.1:50052", Category: fleetCategory},
			&cli.StringFlag{Name: "device", Aliases: []string{"dev"}, Usage: "`DEVICES` to compute on, by ivo doctor's names, with commas between; all GPUs, or the CPU, without it", Category: fleetCategory},
			&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "threads of the CPU; 0 for all", Category: fleetCategory},
		},
		Action: func(c *cli.Context) error {
			s := llama.RPCServer{Listen: c.String("listen"), Threads: c.Int("threads"), Begin: func(address string) {
				warnOf([]string{address})
				fmt.Fprintf(c.App.ErrWriter, "others compute here with --rpc %s\n", address)
			}}
			if names := c.String("device"); names != "" {
				s.Devices = strings.Split(names, ",")
			}
			return llama.ServeRPC(c.Context, s)
		},
	}
}
