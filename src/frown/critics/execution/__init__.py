"""Execution feedback: running the program in an answer against the task's tests, named `unsafe_subprocess` in settings.

A candidate runs in a process of its own, in an empty folder that is removed afterwards, in a session of its own that is
killed as a whole, with no inherited environment, in Python's isolated mode, with limits on time, memory, the size of
what it writes, and no further process or thread. As root it runs as the user `nobody`.

**The limits are not a sandbox.** They stop accidents: endless loops, memory and fork bombs, floods of output. They do
NOT stop a program from

- using the network;
- reading every file that the user may read (as root: every file at all, where Python itself lies in a private folder);
- reading the environment of frown itself, keys and all, through /proc (an ordinary user's processes are open to each
  other; as root this one is closed);
- writing wherever the user may write: other people's files, /tmp, shared memory; or many small files, until the disk or
  its count of files is full;
- sending signals to the user's other processes, frown among them (as root: to other candidates alone);
- fooling its tests: the tests run in the candidate's own process, which can find the report and forge it, or hand out
  objects that are equal to everything. That a program prints "passed", or exits early, does not fool them;
- taking the processor away from others for as long as its time lasts, or reading clocks, hardware and kernel state;
- using a bug in Python, the kernel or the hardware.

Run code that you do not trust in a container or virtual machine without network, secrets or data of value.
"""
