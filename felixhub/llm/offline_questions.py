"""The questions that the offline model asks, by what is asked of it. They claim nothing.

Owns: their wording; `{term}` stands for a word of the task. Must not: hold logic.
"""

from __future__ import annotations

DOUBTS = (
    "Only one source says this; what would a second one say?",
    "What would have to be observed for the opposite to be true?",
    "Does this hold outside the case it was written about?",
    "Who measured this, and when?",
    "What was left out to be able to say it so shortly?",
    "Is this a cause, or only something that goes along with it?",
)
QUESTIONS = (
    "What exactly is meant by {term} here, and what would not count as it?",
    "Which figures about {term} exist, who publishes them, and how old are they?",
    "Who is affected most by {term}, and has anyone asked them?",
    "What was tried with {term} before, and what became of it?",
    "Where does {term} work differently from what one would expect?",
    "What does {term} cost, in money, time or attention, and who pays?",
    "Which single observation about {term} would change the answer most?",
    "What has to be in place before {term} matters at all?",
    "How fast does {term} change, and is a slow answer still a useful one?",
    "Which two sources disagree about {term}, and about what precisely?",
    "What would an expert on {term} ask first that the task does not?",
    "How would one know, a year later, that the answer about {term} was right?",
)
COMPARISONS = (
    "What is {term} to be compared with, and on which scale?",
    "Which parts does {term} consist of, and which of them can be looked at alone?",
    "What grows when {term} grows, and what shrinks?",
    "Is {term} a cause here, an effect, or only a companion of both?",
    "Which two goals pull {term} in opposite directions?",
    "Where is the smallest case of {term} that still shows the whole difficulty?",
    "Which assumption about {term} carries the most weight, and how could it be weighed?",
    "What stays the same about {term} in every case one can think of?",
    "On what does the order of importance around {term} depend?",
    "Which measure of {term} would two opponents both accept?",
)
DOUBTS_OF_TASK = (
    "Does the task take {term} for granted, and what if that is wrong?",
    "What would have to be observed to give up the usual view of {term}?",
    "Who gains if {term} is described in this way rather than another?",
    "Is {term} one thing, or several under one name?",
    "Which evidence on {term} would be easy to get and is still missing?",
    "What is the strongest case against caring about {term}?",
    "Where would a confident answer about {term} be most likely to be wrong?",
    "Which question about {term} does the task avoid?",
    "How would the answer change for someone who cannot choose {term}?",
    "What is known about {term}, and what is only repeated?",
)
