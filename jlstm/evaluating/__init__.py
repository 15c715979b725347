"""Many sequences through one network, or several: how they are put into batches.

intake.py     sequences of any form as arrays by input, checked
slots.py      networks that go on from step to step: pieces of sequences in fixed slots
whole.py      networks that look at whole sequences: batches of similar length
programs.py   what is compiled, for one device or many
members.py    networks of one architecture as one, and what their answers say together
padding.py    what MATLAB does with sequences of different length
"""
