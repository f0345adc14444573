// One subcommand of `blockstep`: reads its own flags, returns an exit code.
#pragma once

namespace blockstep {

using CommandFn = int (*)(int argc, char** argv);

int TrainCommand(int argc, char** argv);
int EvalCommand(int argc, char** argv);
int ExportCommand(int argc, char** argv);
int EstimateCommand(int argc, char** argv);
int CoordinatorCommand(int argc, char** argv);
int CertsCommand(int argc, char** argv);
int StatusCommand(int argc, char** argv);
int StopCommand(int argc, char** argv);
int SaveCommand(int argc, char** argv);
int TokenizeCommand(int argc, char** argv);
int VerifyCommand(int argc, char** argv);

}  // namespace blockstep
